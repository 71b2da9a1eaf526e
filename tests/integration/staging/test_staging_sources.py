"""Sources that change, go or become unreadable while they are read: each is named, and nothing of it is delivered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.staged import FAR, Ends
from tests.transfers import tree
from wlmctl.errors import TaskFailed
from wlmctl.transfer import copy


@pytest.mark.parametrize("kind", FAR)
@pytest.mark.parametrize("size_bytes", [1_000, 3_000_000])
def test_a_source_that_changes_size_while_it_is_read_is_named(
    ends: Ends, data: Path, kind: str, size_bytes: int
) -> None:
    made = ends.planned(kind, data / "big", "local", f"{ends.folder}/out/")

    def progress(done_bytes: int, *_: int) -> None:
        if done_bytes:
            os.truncate(data / "big", size_bytes)

    with pytest.raises(TaskFailed, match=f"{kind}:{data}/big: (shrank|grew)"):
        copy(made, execution="e1", progress=progress)
    assert tree(ends.folder / "out") == {}
