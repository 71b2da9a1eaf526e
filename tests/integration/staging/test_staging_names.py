"""Names and trees that are hard: deep, long, alike but for their case, in circles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.staged import FAR, Ends, Odd, content, is_told_in_a_line
from tests.transfers import leftovers, tree
from wlmctl.errors import TaskFailed, TransportError
from wlmctl.transfer import Summary, Symlinks, copy


@pytest.mark.parametrize("kind", FAR)
def test_a_deep_tree_goes_up_and_down(ends: Ends, kind: str) -> None:
    folder = ends.folder / "deep"
    for number in range(100):
        folder /= f"below {number:02d}"
    folder.mkdir(parents=True)
    (folder / "file").write_text("down here")
    for source, to, way in (("local", kind, "up"), (kind, "local", "down")):
        assert isinstance(ends.tried(source, ends.folder / "deep", to, ends.folder / way), Summary)
        assert tree(ends.folder / way) == tree(ends.folder / "deep")


@pytest.mark.parametrize("kind", FAR)
def test_a_path_that_would_be_too_long_is_refused_before_the_first_byte(ends: Ends, kind: str) -> None:
    """Deeper than what a path of this system may name, once it lies in the target's folder."""
    there = os.getcwd()
    try:
        os.chdir(ends.folder)
        os.mkdir("deep")
        os.chdir("deep")
        for number in range(38):
            name = f"{number:02d}" + "x" * 98
            os.mkdir(name)
            os.chdir(name)
        Path("file").touch()
    finally:
        os.chdir(there)
    target = ends.folder / ("y" * 200) / ("z" * 200) / "out"
    error = ends.tried("local", ends.folder / "deep", kind, target)
    assert isinstance(error, TaskFailed), error
    assert str(error).startswith(f"{kind}:{target.parent.parent}")
    assert "a path of 4,1" in str(error)
    assert is_told_in_a_line(error)
    assert not target.parent.parent.exists()


@pytest.mark.parametrize("kind", FAR)
def test_a_circle_of_symlinks_is_named_when_it_is_to_be_followed_and_kept_otherwise(
    ends: Ends, data: Path, kind: str
) -> None:
    (data / "dangling").unlink()
    (data / "sub" / "up").symlink_to("..")
    (data / "self").symlink_to("self")
    copy(ends.planned(kind, data, "local", ends.folder / "kept"), execution="e1")
    assert content(ends.folder / "kept") == content(data)
    (data / "self").unlink()
    with pytest.raises((TaskFailed, TransportError)) as told:
        ends.planned(kind, data, "local", ends.folder / "out", Symlinks.FOLLOW)
    assert is_told_in_a_line(told.value)
    assert f"{data}/sub/up" in str(told.value)


@pytest.mark.parametrize("target", ["new", "there"])
def test_names_that_differ_in_case_only_are_refused_where_they_are_one(odd: Odd, data: Path, target: str) -> None:
    ends = odd(lower_case=True)
    out = ends.folder / "out"
    if target == "there":
        out.mkdir()
    (data / "sub" / "Plain").write_text("not that one")
    error = ends.tried("local", f"{data}/", "odd", out)
    assert isinstance(error, TaskFailed), error
    assert is_told_in_a_line(error)
    assert "sub/Plain" in str(error)
    assert "sub/plain" in str(error)
    assert content(out) == (None if target == "new" else {})
    assert leftovers(ends.folder) == []


def test_names_that_differ_in_case_only_arrive_where_they_are_two(ends: Ends, data: Path) -> None:
    (data / "sub" / "Plain").write_text("another one")
    assert isinstance(ends.tried("local", f"{data}/", "sftp", ends.folder / "out"), Summary)
    assert content(ends.folder / "out") == content(data)


def test_a_name_that_is_too_long_for_the_far_file_system_is_told_and_leaves_nothing(odd: Odd, data: Path) -> None:
    ends = odd(longest_name=143)  # as on an encrypted file system
    (data / "sub" / ("x" * 140)).write_text("short enough, and too long with a mark")
    error = ends.tried("local", data / "sub", "odd", ends.folder / "out")
    assert isinstance(error, TransportError), error
    assert is_told_in_a_line(error)
    assert "x" * 240 in str(error)
    assert content(ends.folder / "out") is None
    assert leftovers(ends.folder) == []
    (data / "sub" / ("x" * 240)).unlink()
    assert isinstance(ends.tried("local", data / "sub", "odd", ends.folder / "out"), Summary)
    assert content(ends.folder / "out") == content(data / "sub")
    (ends.folder / "out" / ("x" * 140)).write_text("old")
    assert isinstance(ends.tried("local", data / "sub", "odd", f"{ends.folder}/out"), Summary)
    assert content(ends.folder / "out") == content(data / "sub")
