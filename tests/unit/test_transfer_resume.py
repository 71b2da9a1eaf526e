"""After a cut the next execution of the same work goes on from what is proven, and from nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far, Narrow, far_host, leftovers, place, planned, this_host, tree
from wlmctl.errors import Broken, Denied, TaskFailed
from wlmctl.transfer import Source, Spot, Summary, Verify, command_name, copy, execution_name, plan

MB = 1_000_000
SIZE = 12 * MB
CUT = 7 * MB


def execution(dispatch: int) -> str:
    return execution_name("pi-abcdef/stage", dispatch)


def content(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(content(SIZE))
    path.chmod(0o640)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    return path


def copied(far: Any, what: Any, to: Any, dispatch: int, **options: Any) -> Summary:
    ends = {"source": options.pop("source", place()), "target": place("far", lambda: far)}
    name = options.pop("execution", None) or execution(dispatch)
    made = planned(what, to, execution=name if options.pop("is_told", True) else "", **ends)
    return copy(made, execution=name, **{"keeps": (Broken,), **options})


def cut(what: Any, to: Any, at: int = CUT, dispatch: int = 1, **options: Any) -> None:
    with pytest.raises(Broken, match=r"far:.*the connection is gone"):
        copied(Far(at), what, to, dispatch, **options)


SOURCES: list[Callable[[], Any]] = [this_host, far_host, lambda: Narrow(this_host())]


@pytest.mark.parametrize("verify", list(Verify))
@pytest.mark.parametrize("open_source", SOURCES, ids=["this host", "hashes itself", "is read to be hashed"])
def test_a_cut_file_is_gone_on_with_by_the_next_execution(
    tmp_path: Path, big: Path, open_source: Callable[[], Any], verify: Verify
) -> None:
    end = place("nas", open_source)
    cut(big, f"{tmp_path}/to/", source=end, verify=verify)
    (left,) = leftovers(tmp_path)
    there = left.stat().st_size
    assert 0 < there <= CUT
    far = Far()
    summary = copied(far, big, f"{tmp_path}/to/", 2, source=end, verify=verify)
    assert (summary.resumed_bytes, summary.sent_bytes, summary.size_bytes) == (there, SIZE - there, SIZE)
    assert far.written_bytes == SIZE - there
    assert f"{there:,} bytes resumed" in summary.told()
    arrived = tmp_path / "to" / "big"
    assert arrived.read_bytes() == big.read_bytes()
    assert (arrived.stat().st_mode & 0o777, arrived.stat().st_mtime) == (0o640, 1_500_000_000)
    assert leftovers(tmp_path) == []


def test_it_is_cut_again_and_again_and_comes_to_its_end(tmp_path: Path, big: Path) -> None:
    sent = 0
    for dispatch in range(1, 6):
        far = Far(5 * MB)
        try:
            copied(far, big, tmp_path / "to", dispatch)
        except Broken:
            assert len(leftovers(tmp_path)) == 1
        else:
            break
        finally:
            sent += far.written_bytes
    assert (tmp_path / "to").read_bytes() == big.read_bytes()
    assert leftovers(tmp_path) == []
    assert sent == SIZE


def test_a_plan_that_was_not_told_of_the_execution_does_as_well(tmp_path: Path, big: Path) -> None:
    cut(big, tmp_path / "to")
    assert copied(Far(), big, tmp_path / "to", 2, is_told=False).resumed_bytes > 0
    assert leftovers(tmp_path) == []


def spoil(left: Path, big: Path) -> None:
    with left.open("r+b") as file:
        file.seek(1000)
        file.write(b"another")


def change_the_source(left: Path, big: Path) -> None:
    big.write_bytes(content(SIZE, seed=2))


def grow_beyond(left: Path, big: Path) -> None:
    left.write_bytes(big.read_bytes() + b"more")


@pytest.mark.parametrize("how", [spoil, change_the_source, grow_beyond])
@pytest.mark.parametrize("verify", [Verify.SHA256, Verify.NONE])
def test_a_beginning_that_is_not_the_sources_is_never_gone_on_with(
    tmp_path: Path, big: Path, how: Callable[[Path, Path], None], verify: Verify
) -> None:
    cut(big, tmp_path / "to")
    how(leftovers(tmp_path)[0], big)
    summary = copied(Far(), big, tmp_path / "to", 2, verify=verify)
    assert (summary.resumed_bytes, summary.sent_bytes) == (0, SIZE)
    assert (tmp_path / "to").read_bytes() == big.read_bytes()
    assert leftovers(tmp_path) == []


def test_what_the_cut_execution_still_writes_does_not_reach_the_copy(tmp_path: Path, big: Path) -> None:
    cut(big, tmp_path / "to")
    (left,) = leftovers(tmp_path)
    with left.open("r+b") as late:
        copied(Far(), big, tmp_path / "to", 2)
        late.write(b"late")
        late.flush()
    assert (tmp_path / "to").read_bytes() == big.read_bytes()


def test_an_end_that_cannot_copy_by_itself_is_sent_all_again(tmp_path: Path, big: Path) -> None:
    cut(big, tmp_path / "to")
    copied(Narrow(far_host()), big, tmp_path / "to", 2)
    assert (tmp_path / "to").read_bytes() == big.read_bytes()


def test_no_room_for_a_copy_of_the_beginning_means_to_send_all_again(tmp_path: Path, big: Path) -> None:
    class Full(Far):
        def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
            Path(destination).write_bytes(b"some")
            raise Denied("no room for two")

    cut(big, tmp_path / "to")
    far = Full()
    assert copied(far, big, tmp_path / "to", 2).sent_bytes == SIZE
    assert (tmp_path / "to").read_bytes() == big.read_bytes()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("kept", [(), (Broken,)])
def test_after_an_error_that_is_final_nothing_stays_not_even_of_those_before(
    tmp_path: Path, big: Path, kept: tuple[type[BaseException], ...]
) -> None:
    cut(big, tmp_path / "to")

    class Changing(Narrow):
        def read(self, path: str, offset: int = 0) -> Any:
            yield from super().read(path, offset)
            os.utime(path, (1, 1))

    with pytest.raises(TaskFailed, match="was written to"):
        copied(Far(), big, tmp_path / "to", 2, source=place("nas", lambda: Changing(this_host())), keeps=kept)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "to").exists()


def test_a_sparse_file_that_was_cut_stays_sparse(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(content(MB))
        file.truncate(40 * MB)
    cut(sparse, tmp_path / "to", at=20 * MB)
    summary = copied(Far(), sparse, tmp_path / "to", 2)
    assert summary.resumed_bytes > 19 * MB
    there = (tmp_path / "to").stat()
    assert (there.st_size, there.st_blocks * 512 < 5 * MB) == (40 * MB, True)


def test_what_was_left_of_a_second_source_is_gone_on_with_after_the_first(tmp_path: Path, big: Path) -> None:
    first = tmp_path / "first"
    first.write_bytes(b"first")
    sources = [Source(place("one"), Spot(str(first))), Source(place("other"), Spot(str(big)))]

    def staged(far: Far, dispatch: int) -> Summary:
        end = place("far", lambda: far)
        made = plan(sources, end, Spot(f"{tmp_path}/to", is_folder=True), execution=execution(dispatch))
        return copy(made, execution=execution(dispatch), keeps=(Broken,))

    with pytest.raises(Broken):
        staged(Far(CUT), 1)
    assert staged(Far(), 2).resumed_bytes > 4 * MB
    assert tree(tmp_path / "to") == {"first": b"first", "big": big.read_bytes()}
    assert leftovers(tmp_path) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    for number in range(40):
        (folder / "sub" / f"small{number}").write_bytes(content(50_000, number))
    (folder / "first").write_bytes(content(6 * MB, 50))
    (folder / "second").write_bytes(content(SIZE, 51))
    (folder / "link").symlink_to("first")
    return folder


@pytest.mark.parametrize("verify", [Verify.SHA256, Verify.SIZE])
def test_a_new_folder_that_was_cut_is_gone_on_with_file_by_file(tmp_path: Path, folder: Path, verify: Verify) -> None:
    cut(f"{folder}/", tmp_path / "to", at=14 * MB, verify=verify)
    (left,) = tmp_path.glob(".to.wlm-*")
    assert not (tmp_path / "to").exists()
    (left / "of another source").write_text("not in the plan")
    (left / "sub" / "small7").write_text("half")
    begun_bytes = (left / "second").stat().st_size
    assert begun_bytes > 4 * MB
    far = Far()
    summary = copied(far, f"{folder}/", tmp_path / "to", 2, verify=verify)
    assert far.written_bytes == SIZE - begun_bytes + 50_000
    assert (summary.sent_bytes, summary.files, summary.skipped) == (far.written_bytes, 43, 0)
    assert summary.size_bytes == summary.resumed_bytes + summary.sent_bytes
    assert tree(tmp_path / "to") == tree(folder)
    assert leftovers(tmp_path) == []


def test_a_file_that_has_changed_since_is_sent_again(tmp_path: Path, folder: Path) -> None:
    cut(f"{folder}/", tmp_path / "to", at=14 * MB)
    for name in ("first", "sub/small3"):
        path = folder / name
        times = path.stat().st_atime, path.stat().st_mtime
        path.write_bytes(content(path.stat().st_size, seed=99))
        os.utime(path, times)
    copied(Far(), f"{folder}/", tmp_path / "to", 2)
    assert tree(tmp_path / "to") == tree(folder)


def test_into_a_folder_that_exists_what_has_arrived_is_not_sent_again(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "to").mkdir()
    cut(f"{folder}/", tmp_path / "to", at=14 * MB)
    far = Far()
    summary = copied(far, f"{folder}/", tmp_path / "to", 2)
    assert summary.skipped >= 40
    assert summary.resumed_bytes > 4 * MB
    assert far.written_bytes == summary.sent_bytes == SIZE + 6 * MB - summary.resumed_bytes
    assert tree(tmp_path / "to") == tree(folder)
    assert leftovers(tmp_path) == []


WAITS = """import sys; from wlmctl.transfer import command_name
print(command_name(sys.argv[1:]), flush=True)
sys.stdin.read()"""


def test_the_same_command_goes_on_with_that_of_a_process_that_is_gone_and_leaves_a_living_ones_alone(
    tmp_path: Path, big: Path
) -> None:
    command = [sys.executable, "-c", WAITS, "local:/a", "nas:/b"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        cut(big, tmp_path / "to", execution=name)
        (left,) = leftovers(tmp_path)
        mine = command_name(["local:/a", "nas:/b"])
        assert mine != name
        assert copied(Far(), big, tmp_path / "to", 0, execution=mine).resumed_bytes == 0
        assert leftovers(tmp_path) == [left]
        (tmp_path / "to").unlink()
        other.stdin.close()
    assert copied(Far(), big, tmp_path / "to", 0, execution=command_name(["local:/a", "nas:/c"])).resumed_bytes == 0
    (tmp_path / "to").unlink()
    assert copied(Far(), big, tmp_path / "to", 0, execution=mine).resumed_bytes > 0
    assert leftovers(tmp_path) == []


def test_room_that_an_ended_execution_has_taken_counts_as_free(tmp_path: Path, big: Path) -> None:
    class Nearly(Far):
        def free_bytes(self, path: str) -> int | None:
            return SIZE - 5 * MB

    cut(big, tmp_path / "to")
    ends: dict[str, Any] = {"source": place(), "target": place("far", Nearly)}
    with pytest.raises(Exception, match="bytes are needed"):
        planned(big, tmp_path / "to", **ends)
    assert planned(big, tmp_path / "to", execution=execution(2), **ends).files == 1
