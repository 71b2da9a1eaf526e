"""A disk that is full, fills up, has a quota, or may not be written any more: told in a line, and nothing is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.staged import FAR, KINDS, Ends
from wlmctl.errors import Denied, NoSpace
from wlmctl.transfer import copy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["big", "sub"])
def test_a_full_disk_is_told_and_leaves_nothing(ends: Ends, data: Path, small_disk: Path, kind: str, name: str) -> None:
    (small_disk / "old").write_text("old")
    made = ends.planned("local", data / name, kind, f"{small_disk}/")
    (small_disk / "filling").write_bytes(bytes(4 * 1024 * 1024 - 12_288))
    with pytest.raises(NoSpace, match=f"^{kind}:"):
        copy(made, execution="e1")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filling", "old"]


@pytest.mark.parametrize("kind", FAR)
def test_what_cannot_fit_is_told_before_the_first_byte(ends: Ends, data: Path, small_disk: Path, kind: str) -> None:
    (data / "big").write_bytes(bytes(5_000_000))
    with pytest.raises(NoSpace, match=f"{kind}:{small_disk}: 5,000,000 bytes are needed and 4,194,304 are free"):
        ends.planned("local", data / "big", kind, f"{small_disk}/a/b/")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_may_not_be_written_is_told(ends: Ends, data: Path, small_disk: Path, kind: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("big", "run", "sub"):
        with pytest.raises(Denied, match=f"^{kind}:{small_disk}"):
            ends.copied("local", data / name, kind, f"{small_disk}/")
