"""Sources that change, go or become unreadable while they are read: each is named, and nothing of it is delivered."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.staged import WITH_OPENSSH, Ends, is_told_in_a_line
from tests.transfers import leftovers, tree
from wlmctl.errors import NotFound, TaskFailed
from wlmctl.transfer import Progress, copy


def grow(path: Path) -> None:
    os.truncate(path, 3_000_000)


def shrink(path: Path) -> None:
    os.truncate(path, 1_000)


def replace(path: Path) -> None:
    path.with_name("other").write_bytes(os.urandom(path.stat().st_size))
    path.with_name("other").rename(path)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1_000, os.SEEK_END)
        file.write(b"changed")


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [grow, shrink, replace, rewrite, delete])
@pytest.mark.parametrize("kind", WITH_OPENSSH)
def test_a_source_that_changes_while_it_is_read_is_named(
    ends: Ends, data: Path, kind: str, change: Callable[[Path], None]
) -> None:
    os.utime(data / "big", (1_000_000_000, 1_000_000_000))
    made = ends.planned(kind, data / "big", "local", f"{ends.folder}/out/")
    changed = False

    def progress(now: Progress) -> None:
        nonlocal changed
        if now.bytes_done and not changed:
            changed = True
            change(data / "big")

    with pytest.raises((TaskFailed, NotFound), match=f"^{kind}:{data}/big: ") as told:
        copy(made, execution="e1", progress=progress)
    assert is_told_in_a_line(told.value)
    assert changed
    assert tree(ends.folder / "out") == {}


@pytest.mark.parametrize("change", [grow, shrink, replace, rewrite, delete])
@pytest.mark.parametrize("kind", WITH_OPENSSH)
def test_a_small_source_that_has_changed_since_it_was_listed_is_named(
    ends: Ends, data: Path, kind: str, change: Callable[[Path], None]
) -> None:
    (data / "sub" / "small").write_bytes(os.urandom(2_000))
    os.utime(data / "sub" / "small", (1_000_000_000, 1_000_000_000))
    made = ends.planned(kind, data / "sub", "local", f"{ends.folder}/out/")
    change(data / "sub" / "small")
    with pytest.raises((TaskFailed, NotFound), match=f"^{kind}:{data}/sub/small: ") as told:
        copy(made, execution="e1")
    assert is_told_in_a_line(told.value)
    assert tree(ends.folder / "out") == {}


@pytest.mark.parametrize("kind", WITH_OPENSSH)
def test_a_source_that_is_a_folder_or_a_fifo_by_now_is_named(ends: Ends, data: Path, kind: str) -> None:
    for name, make in (("big", os.mkfifo), ("run", os.mkdir)):
        made = ends.planned(kind, data / name, "local", f"{ends.folder}/out/")
        (data / name).unlink()
        make(data / name)
        error = ends.carried_out(made)
        assert is_told_in_a_line(error)
        assert str(error).startswith(f"{kind}:{data}/{name}: ")
        assert leftovers(ends.folder) == []
        assert tree(ends.folder / "out") == {}
