"""Names and trees that cannot arrive as they are: all of it told before the first byte."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far, Narrow, copied, place, planned, this_host, tree
from wlmctl.errors import Broken, Denied, TaskFailed
from wlmctl.transport import FileInfo


class Locked(Far):
    """What has no right to be read by others cannot be read, whoever runs the test."""

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        self._check(path)
        return iter(self.inner.read(path, offset))

    def read_many(self, paths: list[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            self._check(path)
            yield from self.inner.read_many([path])

    def entries(self, path: str) -> Iterator[FileInfo]:
        self._check(path)
        return iter(self.inner.entries(path))

    def walk(self, path: str) -> Iterator[FileInfo]:
        for info in self.inner.walk(path):
            if info.kind == "directory":
                self._check(f"{path}/{info.path}")
            yield info

    def _check(self, path: str) -> None:
        if not Path(path).stat().st_mode & 0o004:
            raise Denied(f"{path}: permission denied")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    for name in ("a", "b", "c"):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_text(name)
        (data / name / "large").write_bytes(os.urandom(600_000))
    return data


def test_every_folder_that_cannot_be_listed_is_named_at_once(tmp_path: Path, data: Path) -> None:
    for name in ("a", "c"):
        (data / name).chmod(0o700)
    with pytest.raises(Denied, match=f"^cannot be read: nas:{data}/a, nas:{data}/c$"):
        planned(data, tmp_path / "to", source=place("nas", Locked))


@pytest.mark.parametrize("name", ["file", "large"])
def test_every_file_that_cannot_be_read_is_named_at_once(tmp_path: Path, data: Path, name: str) -> None:
    for folder in ("a", "c"):
        (data / folder / name).chmod(0o600)
    with pytest.raises(Denied, match=f"^cannot be read: nas:{data}/a/{name}, nas:{data}/c/{name}$"):
        copied(data, f"{tmp_path}/to/", source=place("nas", Locked), target=place())
    assert not (tmp_path / "to" / "data").exists()


def test_a_single_one_is_told_as_the_machine_tells_it_and_of_very_many_some(tmp_path: Path, data: Path) -> None:
    (data / "b" / "file").chmod(0o600)
    with pytest.raises(Denied, match=f"^nas:{data}/b/file: permission denied$"):
        copied(data, tmp_path / "to", source=place("nas", Locked), target=place())
    for number in range(30):
        (data / f"{number:02d}").touch(mode=0o600)
    with pytest.raises(Denied, match=f"^cannot be read: nas:{data}/00, .*, nas:{data}/19, and more$"):
        copied(data, tmp_path / "to", source=place("nas", Locked), target=place())


class CaseInsensitive(Narrow):
    """Takes names that differ in case only for one, as FAT, NTFS and APFS do."""

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        for there in Path(path).parent.glob("*") if Path(path).parent.is_dir() else ():
            if there.name.lower() == Path(path).name.lower():
                return super().stat(str(there), follow=follow)
        return super().stat(path, follow=follow)


@pytest.mark.parametrize("exists", [False, True])
def test_names_that_would_become_one_are_refused_where_case_does_not_count(
    tmp_path: Path, data: Path, exists: bool
) -> None:
    (data / "a" / "FILE").write_text("another")
    if exists:
        (tmp_path / "to").mkdir()
    before = tree(tmp_path)
    with pytest.raises(TaskFailed, match=f"fat:{tmp_path}/to/a/FILE and fat:{tmp_path}/to/a/file would be one"):
        copied(f"{data}/", tmp_path / "to", target=place("fat", lambda: CaseInsensitive(this_host())))
    assert tree(tmp_path) == before
    copied(f"{data}/", tmp_path / "to")
    assert tree(tmp_path / "to") == tree(data)


def test_names_and_paths_that_are_too_long_are_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(TaskFailed, match="a name of 256 bytes, at most 255 can be"):
        planned(data, f"{tmp_path}/{'x' * 256}")
    with pytest.raises(TaskFailed, match=r"a path of 4,\d+ bytes, at most 4,\d+ can be"):
        planned(data, "/" + "/".join(["y" * 200] * 20) + "/end")


def test_a_deep_tree_arrives(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "/".join(["some folder"] * 200)
    folder.mkdir(parents=True)
    (folder / "file").write_text("deep")
    copied(tmp_path / "data", tmp_path / "to", source=place("nas", Far), target=place("far", Far))
    assert tree(tmp_path / "to") == tree(tmp_path / "data")


def test_a_repeated_copy_of_a_link_to_a_folder_converges(tmp_path: Path, data: Path) -> None:
    (data / "link").symlink_to("a")
    copied(data, tmp_path / "to")
    copied(data, tmp_path / "to", execution="e2")
    assert tree(tmp_path / "to") == tree(data)


def test_a_plan_of_many_files_is_small(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(2000):
        (data / f"file-{number:06d}").touch()
    far: Any = place("far", Far)
    tracemalloc.start()
    try:
        made = planned(f"{data}/", tmp_path / "to", source=far, target=far)
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert made.files == 2000
    assert held_bytes / 2000 < 600, "a file of a plan takes little: 100,000 of them at most 60 MB"


def test_a_file_that_breaks_is_named(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Broken, match=rf"far:{tmp_path}/to/a/large: the connection is gone"):
        copied(data, tmp_path / "to", source=place(), target=place("far", lambda: Far(100_000)))
