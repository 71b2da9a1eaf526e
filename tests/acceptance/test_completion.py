from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wlmctl.experiment.model import Experiment, Template
from wlmctl.store import experiments, open_database, workers

BIN = Path(sys.executable).parent


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A folder with a wlmctl.toml, and a store with two experiments in it."""
    (tmp_path / "wlmctl.toml").write_text(
        'store = "sqlite:///wlmctl.db"\n[machines.nas]\nhost = "nas.example"\n[machines.cluster]\nhost = "c.example"\n'
    )
    with open_database(f"sqlite:///{tmp_path}/wlmctl.db") as db, db.transaction():
        for identifier in ("pi-aaaaaa", "sweep-bbbbbb"):
            rows = (("1",), ("2",))
            template = Template("simulate", "job", {}, keys=("seed",), rows=rows)
            submission = experiments.Submission(
                identifier, "me", "host", "host", "submit", time.time(), None, "{}", "0" * 64
            )
            experiments.create(db, Experiment("pi", (template,)), submission)
        workers.put(db, "u.box-222222", {"name": "box"}, workers.ALIVE, 1.0)
    return tmp_path


def complete(folder: Path, line: str) -> list[str]:
    """What bash offers at the end of ``line``, by the script that users load."""
    script = (
        'eval "$(wlmctl completion bash)"\n'
        f"COMP_WORDS=({line})\n"
        f"COMP_CWORD=$(({len(line.split())} - 1))\n"
        "_wlmctl_completion wlmctl\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return [word for word in done.stdout.split("\n") if word]


def test_bash_completes_commands_options_ids_tasks_machines_and_plugins(inventory: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    assert complete(inventory, "wlmctl orch") == ["orchestrator"]
    assert complete(inventory, "wlmctl clean --dr") == ["--dry-run"]
    assert complete(inventory, "wlmctl status ''") == ["sweep-bbbbbb", "pi-aaaaaa"]
    assert complete(inventory, "wlmctl status pi-aaaaaa sw") == ["sweep-bbbbbb"]
    assert complete(inventory, "wlmctl logs pi-aaaaaa sim") == ["simulate", "simulate:1", "simulate:2"]
    assert complete(inventory, "wlmctl machine test c") == ["cluster"]
    assert "sftp" in complete(inventory, "wlmctl plugin show ''")
    assert complete(inventory, "wlmctl worker drain b") == ["box"]
    assert complete(inventory, "wlmctl worker --type j") == ["job"]


def test_completing_ids_of_a_store_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (tmp_path / "wlmctl.toml").write_text('store = "sqlite:///none.db"\n')
    assert complete(tmp_path, "wlmctl status p") == []
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --no")])
def test_every_shell_gets_its_script(shell: str, sign: str) -> None:
    done = subprocess.run([BIN / "wlmctl", "completion", shell], capture_output=True, text=True, check=True, timeout=60)
    assert sign in done.stdout
    assert "_WLMCTL_COMPLETE" in done.stdout


def test_an_unknown_shell_is_a_usage_error() -> None:
    done = subprocess.run(
        [BIN / "wlmctl", "completion", "tcsh"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
