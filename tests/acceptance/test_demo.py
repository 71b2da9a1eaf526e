"""``scripts/demo``: what a newcomer runs first, tried in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.services.sshd import require_sshd
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that the demo is promised to take at most on a fresh machine; a test on a busy one gives it three times that.
PROMISE_S = 120
LAST_LINE = "rain     1226    828   1233   1139  1106.5"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the demo needs of the checkout, in which a change is the demo's."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "results", "work", "archive", "bin")
    for name in ("wlmctl", "plugins", "scripts", "examples"):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    for name in ("README.md", "pyproject.toml", ".gitignore"):
        shutil.copy2(ROOT / name, copy)
    return copy


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def processes_that_mention(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def demo(checkout: Path, temporary: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary), **settings}
    done = subprocess.run(
        [checkout / "scripts/demo"],
        cwd=checkout,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PROMISE_S + 20,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.timeout(3 * PROMISE_S + 40)
def test_the_demo_shows_the_table_and_leaves_nothing_behind(checkout: Path, tmp_path: Path) -> None:
    require_sshd()
    before, start = contents(checkout), time.monotonic()
    done = demo(checkout, tmp_path / "temporary")
    took_s = time.monotonic() - start
    assert "two machines: nas" in done.stdout
    assert "monthly[2015]: started on cluster" in done.stderr
    assert LAST_LINE in done.stdout
    assert list((tmp_path / "temporary").iterdir()) == []
    wait_until(lambda: not processes_that_mention(str(tmp_path)), "what it has killed is gone")
    assert contents(checkout) == before
    assert took_s < 3 * PROMISE_S


@pytest.mark.timeout(3 * PROMISE_S + 40)
def test_without_an_sshd_the_demo_says_so_and_uses_this_host_alone(checkout: Path, tmp_path: Path) -> None:
    done = demo(checkout, tmp_path / "temporary", WLMCTL_DEMO_WITHOUT_SSHD="1")
    assert "this host alone plays both machines" in done.stdout
    assert "monthly[2015]: started on local" in done.stderr
    assert LAST_LINE in done.stdout
    assert list((tmp_path / "temporary").iterdir()) == []
