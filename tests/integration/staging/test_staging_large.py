"""Large files and trees."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.staged import Ends
from wlmctl.transfer import Verify


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
