"""Large files and trees: whole, and in little memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.services.sshd import Farm
from tests.staged import Ends
from tests.transfers import leftovers
from wlmctl.transfer import Verify

_FILES = 100_000
_MOST = re.compile(r"VmHWM:\s+(\d+) kB")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("source", "to"), [("local", "local"), ("sftp", "local"), ("scp", "local"), ("local", "sftp")])
def test_a_sparse_file_of_five_gib_arrives(ends: Ends, source: str, to: str) -> None:
    size_bytes = 5 * 1024**3
    room = os.statvfs(ends.folder)
    if to != "local" and room.f_bavail * room.f_frsize < size_bytes * 1.2:
        pytest.skip("less than 6 GiB are free here")
    with (ends.folder / "sparse").open("wb") as file:
        file.truncate(size_bytes)
        for offset in (0, 2**31 - 5, 2**32 - 5, size_bytes - 4):
            file.seek(offset)
            file.write(b"data")
    ends.copied(source, ends.folder / "sparse", to, ends.folder / "copy", Verify.SIZE)
    assert subprocess.run(["cmp", ends.folder / "sparse", ends.folder / "copy"], check=False).returncode == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 100,000 files in 500 folders, and one small file beside it."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(_FILES // 200):
        below = folder / "tree" / f"{number % 20}" / f"folder {number}"
        below.mkdir(parents=True)
        for name in range(200):
            (below / f"file {name}").write_bytes(b"%d %d" % (number, name))
    (folder / "one").write_text("one")
    return folder


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("verify", ["size", "sha256"])
@pytest.mark.parametrize(("source", "to"), [("local", "sftp"), ("sftp", "local"), ("local", "scp"), ("scp", "sftp")])
def test_a_tree_of_a_hundred_thousand_files_arrives_in_little_memory(
    own_farm: Farm, many: Path, tmp_path: Path, source: str, to: str, verify: str
) -> None:
    inventory = own_farm.write_inventory(tmp_path, transports={"scp": "scp"})
    environment = {**os.environ, **inventory.env}

    def most_bytes(what: str) -> int:
        """Copy; the most memory that the process ever had."""
        command = [sys.executable, "-m", "wlmctl", "copy", "--verify", verify, f"{source}:{many}/{what}"]
        command += [f"{to}:{tmp_path}/out/{what}"]
        most = 0
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as copying:
            while copying.poll() is None:
                # not rusage: what a child's parent had counts there, too
                with suppress(OSError):
                    found = _MOST.search(Path(f"/proc/{copying.pid}/status").read_text())
                    most = max(most, int(found[1]) * 1024 if found else 0)
                time.sleep(0.02)
        assert copying.returncode == 0
        return most

    grown_bytes = -most_bytes("one") + most_bytes("tree")
    print(f"{source} to {to}, {verify}: {grown_bytes / 1e6:.0f} MB more than for one file")
    assert subprocess.run(["diff", "-r", many / "tree", tmp_path / "out" / "tree"], check=False).returncode == 0
    assert leftovers(tmp_path / "out") == []
    shutil.rmtree(tmp_path / "out")
    assert grown_bytes < 150 * 1024**2
