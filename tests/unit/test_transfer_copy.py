"""What a copy leaves behind: everything, or nothing."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transfers import (
    CutWhileReading,
    CutWhileWriting,
    Disturbed,
    Narrow,
    copied,
    leftovers,
    place,
    planned,
    this_host,
    tree,
)
from wlmctl.errors import Broken, Cancelled, Denied, NoSpace, TaskFailed
from wlmctl.transfer import Place, Progress, Verify, copy
from wlmctl.transport import FileInfo, Transport

ODD_NAMES = [
    "plain", "with space", "new\nline", "quo'te\"s", "$(touch pwned)", ";semi", "-dash", "*star", "[x]", "~tilde",
    "back\\slash", "tab\t", b"\xff\xfe".decode("utf-8", "surrogateescape"), "\u00fc\u4e2d", "x" * 255, ".dot",
]  # fmt: skip


def content(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a big file, small ones, an empty one and an empty folder."""
    data = tmp_path / "data"
    (data / "sub" / "empty").mkdir(parents=True)
    (data / "big").write_bytes(content(3_000_000))
    (data / "small").write_bytes(content(1000))
    (data / "sub" / "nothing").touch()
    (data / "sub" / "run").write_bytes(b"#!/bin/sh\n")
    (data / "sub" / "run").chmod(0o755)
    os.utime(data / "sub" / "run", (1_000_000_000, 1_000_000_000))
    return data


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("verify", list(Verify))
def test_a_tree_arrives_whole_with_modes_and_times(
    tmp_path: Path, data: Path, verify: Verify, narrow: bool, exists: bool
) -> None:
    end = place("a", lambda: Narrow(this_host())) if narrow else place()
    if exists:
        (tmp_path / "out" / "data").mkdir(parents=True)
    summary = copied(data, f"{tmp_path}/out/", source=end, verify=verify)
    assert tree(tmp_path / "out" / "data") == tree(data)
    run = (tmp_path / "out" / "data" / "sub" / "run").stat()
    assert (run.st_mode & 0o7777, run.st_mtime) == (0o755, 1_000_000_000)
    assert (summary.files, summary.size_bytes) == (4, 3_001_010)
    assert leftovers(tmp_path) == []


def test_odd_names_arrive_as_they_are(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ODD_NAMES:
        (data / name).write_bytes(os.fsencode(name))
    big = data / ("y" * 250)
    big.write_bytes(content(400_000))
    (tmp_path / "out").mkdir()
    copied(f"{data}/", f"{tmp_path}/out/")
    assert tree(tmp_path / "out") == tree(data)
    copied(f"{data}/-dash", f"{tmp_path}/new/$(x) y")
    assert tree(tmp_path / "new") == {"$(x) y": b"-dash"}


def test_a_thousand_small_files_arrive_in_batches(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(1000):
        folder = data / str(number % 7)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(content(number, number))
    told: list[Progress] = []
    made = planned(f"{data}/", f"{tmp_path}/out")
    copy(made, execution="e1", progress=told.append)
    assert tree(tmp_path / "out") == tree(data)
    figures = [(now.bytes_done, now.bytes_total, now.files_done, now.files_total) for now in told]
    assert figures[0] == (0, 499_500, 0, 1000)
    assert figures[-1] == (499_500, 499_500, 1000, 1000)
    assert figures == sorted(figures)


def test_a_sparse_file_stays_sparse_on_this_host(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(200_000_000)
        file.seek(100_000_000)
        file.write(b"x")
    copied(tmp_path / "sparse", tmp_path / "copy")
    there = (tmp_path / "copy").stat()
    assert there.st_size == 200_000_000
    assert there.st_blocks * 512 < 5_000_000


def test_what_is_there_already_with_the_same_content_is_skipped(tmp_path: Path, data: Path) -> None:
    copied(data / "big", f"{tmp_path}/out/")
    inode = (tmp_path / "out" / "big").stat().st_ino
    assert copied(data / "big", f"{tmp_path}/out/", execution="e2").skipped == 1
    assert (tmp_path / "out" / "big").stat().st_ino == inode
    times = ((data / "big").stat().st_atime, (data / "big").stat().st_mtime)
    changed = bytearray((data / "big").read_bytes())
    changed[17] ^= 1
    (data / "big").write_bytes(changed)
    os.utime(data / "big", times)
    assert copied(data / "big", f"{tmp_path}/out/", execution="e3").skipped == 0
    assert (tmp_path / "out" / "big").read_bytes() == changed


def shrink(path: str) -> None:
    os.truncate(path, 1_000_000)


def grow(path: str) -> None:
    with Path(path).open("ab") as file:
        file.write(b"more")


def rewrite(path: str) -> None:
    with Path(path).open("r+b") as file:
        file.write(b"other")
    os.utime(path, (1, 1))


def replace(path: str) -> None:
    other = Path(path + ".new")
    other.write_bytes(content(3_000_000, 2))
    os.utime(other, (Path(path).stat().st_atime, Path(path).stat().st_mtime))
    other.rename(path)


def unlink(path: str) -> None:
    Path(path).unlink()


@pytest.mark.parametrize(
    ("disturb", "how"),
    [
        (shrink, "shrank from 3,000,000 to 1,000,000 bytes"),
        (grow, "grew"),
        (rewrite, "was written to"),
        (replace, "was replaced"),
        (unlink, "disappeared"),
    ],
)
@pytest.mark.parametrize("verify", list(Verify))
@pytest.mark.parametrize("name", ["big", "data/"])
def test_a_source_that_changes_while_it_is_read_is_named_and_not_delivered(
    tmp_path: Path, data: Path, disturb: Callable[[str], None], how: str, verify: Verify, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "big").write_bytes(b"old")
    source = place("nas", lambda: Disturbed(this_host(), lambda path: disturb(path) if path.endswith("big") else None))
    spot = data / "big" if name == "big" else f"{data}/"
    with pytest.raises(TaskFailed, match=f"nas:{data}/big: {how}"):
        copied(spot, f"{out}/", source=source, target=place(), verify=verify)
    assert (out / "big").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_small_source_that_changes_is_named_too(tmp_path: Path, data: Path) -> None:
    source = place("nas", lambda: Disturbed(this_host(), lambda path: grow(path) if path.endswith("small") else None))
    with pytest.raises(TaskFailed, match="small: grew from 1,000 to 1,004 bytes"):
        copied(data / "small", f"{tmp_path}/out/", source=source, target=place())
    assert tree(tmp_path / "out") == {}


CUTS = [0, 1, 999, 1000, 300_000, 1_500_000, 2_999_999, 3_000_000, 3_000_500]


class Once:
    """Gives the broken transport at first, whole ones afterwards, as a retry or a clean-up finds it."""

    def __init__(self, first: Narrow) -> None:
        self.first: Narrow | None = first

    def __call__(self) -> Narrow:
        if self.first is not None and not self.first.is_broken:
            return self.first
        return Narrow(this_host())


@pytest.mark.parametrize("cut_at", CUTS)
@pytest.mark.parametrize("kind", [CutWhileReading, CutWhileWriting])
@pytest.mark.parametrize("exists", [False, True])
def test_a_connection_cut_at_any_byte_leaves_nothing_and_a_second_try_succeeds(
    tmp_path: Path, data: Path, cut_at: int, kind: type[Narrow], exists: bool
) -> None:
    out = tmp_path / "out"
    if exists:
        out.mkdir()
        (out / "big").write_bytes(b"old")
    cut = place("nas", Once(kind(this_host(), cut_at)))  # type: ignore[call-arg]
    ends: dict[str, Any] = {"source": cut, "target": place()}
    if kind is CutWhileWriting:
        ends = {"source": place(), "target": cut}
    with pytest.raises(Broken, match="nas"):
        copied(f"{data}/", f"{out}/", **ends)
    assert leftovers(tmp_path) == []
    for path in out.rglob("*") if out.exists() else []:
        if path.is_file():
            expected = data / path.relative_to(out)
            assert path.read_bytes() in (expected.read_bytes(), b"old"), "a partial file has a final name"
    copied(f"{data}/", f"{out}/", execution="e2", **ends)
    assert tree(out) == tree(data)


class Flipping(Narrow):
    """Stores another byte than it was given."""

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        def flipped() -> Iterator[bytes]:
            for chunk in chunks:
                yield bytes([chunk[0] ^ 1]) + chunk[1:]

        super().write(path, flipped(), info)


@pytest.mark.parametrize("name", ["big", "small"])
def test_a_byte_that_flips_on_the_way_is_noticed(tmp_path: Path, data: Path, name: str) -> None:
    with pytest.raises(Broken, match=f"nas:{tmp_path}/out/{name}: arrived with another sha256"):
        copied(data / name, f"{tmp_path}/out/", target=place("nas", lambda: Flipping(this_host())))
    assert tree(tmp_path / "out") == {}


class Misreading(Narrow):
    """A far source whose bytes arrive changed, and that can tell its own sha256."""

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        for chunk in self.inner.read(path, offset):
            yield bytes([chunk[0] ^ 1]) + chunk[1:]

    can_digest = True

    def digest(self, path: str, size_bytes: int | None = None) -> str:
        return hashlib.sha256(Path(path).read_bytes()[:size_bytes]).hexdigest()


def test_a_byte_that_flips_while_it_is_read_is_noticed_by_the_sources_own_digest(tmp_path: Path, data: Path) -> None:
    with pytest.raises(Broken, match=r"out/big: arrived with another sha256 than nas:.*big has$"):
        copied(data / "big", f"{tmp_path}/out/", source=place("nas", lambda: Misreading(this_host())), target=place())
    assert tree(tmp_path / "out") == {}


class Refusing(Narrow):
    """Raises an error of the contract after some bytes."""

    def __init__(self, error: Exception) -> None:
        super().__init__(this_host())
        self.error = error

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        Path(path).write_bytes(next(iter(chunks), b"")[:10])
        raise self.error


@pytest.mark.parametrize("error", [NoSpace("no room"), Denied("may not")])
@pytest.mark.parametrize("name", ["big", "small", ""])
def test_a_full_disk_or_a_refusal_is_told_with_its_path_and_leaves_nothing(
    tmp_path: Path, data: Path, error: Exception, name: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(type(error), match=f"^nas:{tmp_path}/out/.*: {error}"):
        copied(f"{data}/{name}", f"{tmp_path}/out/", target=place("nas", lambda: Refusing(error)))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


class ReadToTheEnd(Narrow):
    """Notes which reads have been closed."""

    def __init__(self, inner: Transport, closed: list[str]) -> None:
        super().__init__(inner)
        self.closed = closed

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        try:
            yield from self.inner.read(path, offset)
        finally:
            self.closed.append(path)


def test_a_source_is_closed_at_once_when_its_target_is_full(tmp_path: Path, data: Path) -> None:
    closed: list[str] = []
    (tmp_path / "out").mkdir()
    source = place("nas", lambda: ReadToTheEnd(this_host(), closed))
    full = place("full", lambda: Refusing(NoSpace("full")))
    with pytest.raises(NoSpace) as told:
        copied(f"{data}/big", f"{tmp_path}/out/", source=source, target=full)
    assert closed == [f"{data}/big"], f"left to whoever collects it, with {told.value!r}"


def test_a_cancel_stops_at_the_next_chunk_and_leaves_nothing(tmp_path: Path, data: Path) -> None:
    for last in range(1, 40, 3):
        calls = 0

        def check(last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Cancelled("cancelled")

        made = planned(data, f"{tmp_path}/out{last}/")
        try:
            copy(made, execution="e1", check=check)
        except Cancelled:
            assert calls == last
            assert not (tmp_path / f"out{last}" / "data").exists()
        else:
            assert calls < last
        assert leftovers(tmp_path) == []


def test_a_folder_that_appears_meanwhile_is_joined(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    made = planned(f"{data}/", out)
    assert made.new_roots == {str(out)}
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "other").write_text("another task's")
    copy(made, execution="e1")
    assert tree(out) == {**tree(data), "sub/other": b"another task's"}
    assert leftovers(tmp_path) == []


def test_executions_side_by_side_do_not_touch_each_others_temporary_files(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".big.wlm-other").write_bytes(b"half")
    copied(f"{data}/", f"{out}/")
    assert [path.name for path in leftovers(out)] == [".big.wlm-other"]


def test_a_read_only_folder_is_copied_with_its_content(tmp_path: Path, data: Path) -> None:
    (data / "sub").chmod(0o555)
    copied(data, f"{tmp_path}/out/")
    assert tree(tmp_path / "out" / "data") == tree(data)


def test_one_machine_with_one_connection_is_both_ends(tmp_path: Path, data: Path) -> None:
    leases = 0
    most = 0

    class Counted(Narrow):
        def __enter__(self) -> Counted:
            nonlocal leases, most
            leases += 1
            most = max(most, leases)
            return self

        def __exit__(self, *_: object) -> None:
            nonlocal leases
            leases -= 1

    end = Place("nas", "nas", lambda: Counted(this_host()))
    copied(f"{data}/", f"{tmp_path}/out/", source=end, target=Place("same", "nas", end.lease))
    assert tree(tmp_path / "out") == tree(data)
    assert most == 1
