"""What a killed execution leaves behind is removed by the next dispatch of its attempt, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transfers import copied, leftovers
from wlmctl.transfer import execution_name

ATTEMPT, ANOTHER = "0123456789ab", "ba9876543210"


@pytest.mark.parametrize("size_bytes", [10, 1_000_000])
def test_a_later_dispatch_removes_what_an_earlier_one_left(tmp_path: Path, size_bytes: int) -> None:
    source, folder = tmp_path / "f", tmp_path / "to"
    source.write_bytes(bytes(size_bytes))
    folder.mkdir()
    (folder / f".f.wlm-{execution_name(ATTEMPT, 1)}").write_bytes(b"half")
    (folder / f".tree.wlm-{execution_name(ATTEMPT, 2)}").mkdir()
    copied(source, f"{folder}/", execution=execution_name(ATTEMPT, 3))
    assert leftovers(tmp_path) == []
    assert (folder / "f").stat().st_size == size_bytes


@pytest.mark.parametrize(("attempt", "dispatch"), [(ANOTHER, 1), (ATTEMPT, 2), (ATTEMPT, 3), ("", 0)])
def test_others_are_left_alone(tmp_path: Path, attempt: str, dispatch: int) -> None:
    source, folder = tmp_path / "f", tmp_path / "to"
    source.write_bytes(b"x")
    folder.mkdir()
    theirs = folder / f".f.wlm-{execution_name(attempt, dispatch) if attempt else 'e1'}"
    theirs.write_bytes(b"half")
    copied(source, f"{folder}/", execution=execution_name(ATTEMPT, 2))
    assert leftovers(tmp_path) == [theirs]
