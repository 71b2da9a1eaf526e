"""``scripts/demo``: what a newcomer runs first."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.services.sshd import require_sshd

ROOT = Path(__file__).resolve().parents[2]


def checkout_files() -> list[tuple[str, float]]:
    """Every file that the demo might change, with its time of change."""
    parts = [ROOT / name for name in ("scripts", "examples", "wlmctl", "plugins", "docs")]
    files = [path for part in parts for path in part.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    top = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    return sorted((str(path), path.stat().st_mtime if path.is_file() else 0.0) for path in (*files, *top))


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


def demo(folder: Path, *, without_sshd: bool = False) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPDIR": str(folder)}
    if without_sshd:
        env["WLMCTL_DEMO_WITHOUT_SSHD"] = "1"
    return subprocess.run(
        [str(ROOT / "scripts/demo")], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.timeout(320)
def test_the_demo_shows_the_table_and_leaves_nothing_behind(tmp_path: Path) -> None:
    require_sshd()
    before, start = checkout_files(), time.monotonic()
    done = demo(tmp_path)
    took_s = time.monotonic() - start
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "two machines: nas" in done.stdout
    assert "monthly[2015]: started on cluster" in done.stdout + done.stderr
    assert "rain     1226    828   1233   1139  1106.5" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []
    assert checkout_files() == before
    assert took_s < 120


@pytest.mark.timeout(320)
@pytest.mark.long
def test_where_there_is_no_sshd_the_demo_says_so_and_uses_this_host_alone(tmp_path: Path) -> None:
    done = demo(tmp_path, without_sshd=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "this host alone plays both machines" in done.stdout
    assert "rain     1226    828   1233   1139  1106.5" in done.stdout
    assert list(tmp_path.iterdir()) == []
