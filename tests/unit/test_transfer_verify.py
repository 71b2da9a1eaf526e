"""Comparing costs little: digests are taken beside the sending, and are given up within moments."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far, leftovers, place, planned, this_host, tree
from tests.waiting import wait_until
from wlmctl.errors import Broken, Cancelled
from wlmctl.transfer import Verify, behind, copy
from wlmctl.transport import CHUNK_BYTES, FileInfo

PATIENCE_S = 60.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a", "b", "c"):
        (data / name).write_bytes(os.urandom(600_000))
    return data


class Hashing(Far):
    """Waits in each digest for ``awaited``."""

    def __init__(self, awaited: Callable[[str], object]) -> None:
        super().__init__()
        self.awaited = awaited

    def digest(self, path: str, size_bytes: int | None = None) -> str | None:
        self.awaited(path)
        digest: str = self.inner.digest(path, size_bytes)
        return digest


def test_the_far_end_hashes_one_file_while_the_next_is_sent(tmp_path: Path, data: Path) -> None:
    begun: list[str] = []
    another = threading.Condition()

    class Sending(Hashing):
        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            with another:
                begun.append(Path(path).name)
                another.notify_all()
            super().write(path, chunks, info)

    def wait_for_the_next(path: str) -> None:
        with another:
            is_last = Path(path).name.startswith((".c", "c"))
            assert is_last or another.wait_for(lambda: begun[-1] != Path(path).name, PATIENCE_S), "nothing else is sent"

    far = Sending(wait_for_the_next)
    copy(planned(f"{data}/", tmp_path / "to", target=place("far", lambda: far)), execution="e1")
    assert tree(tmp_path / "to") == tree(data)


def test_both_ends_hash_at_the_same_time(tmp_path: Path, data: Path) -> None:
    together = threading.Barrier(2)

    def wait_for_the_other(_: str) -> None:
        together.wait(PATIENCE_S)

    far = place("far", lambda: Hashing(wait_for_the_other))
    copy(planned(data / "a", tmp_path / "to", source=far, target=far), execution="e1")
    assert (tmp_path / "to").read_bytes() == (data / "a").read_bytes()


class Here(type(this_host())):  # type: ignore[misc]
    """This host, which calls ``heard`` with each chunk that another thread than the sending one has read."""

    def __init__(self, heard: Callable[[bytes], object]) -> None:
        self.heard, self.sending = heard, threading.current_thread()

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        for chunk in super().read(path, offset):
            if threading.current_thread() is not self.sending:
                self.heard(chunk)
            yield chunk


def test_a_source_of_this_host_is_hashed_while_the_far_end_hashes_what_has_arrived(tmp_path: Path, data: Path) -> None:
    together = threading.Barrier(2)
    source = place("local", lambda: Here(lambda chunk: len(chunk) == CHUNK_BYTES or together.wait(PATIENCE_S)))
    far = place("far", lambda: Hashing(lambda _: together.wait(PATIENCE_S)))
    copy(planned(data / "a", tmp_path / "to", source=source, target=far), execution="e1")
    assert (tmp_path / "to").read_bytes() == (data / "a").read_bytes()


def test_of_a_large_source_of_this_host_only_the_end_is_hashed_when_all_is_sent(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(behind, "_BEHIND_BYTES", CHUNK_BYTES)
    hashed: list[int] = []

    class Slow(Far):
        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            super().write(path, chunks, info)
            wait_until(lambda: sum(hashed) == 600_000, "all but the last chunk is hashed", PATIENCE_S)

    source = place("local", lambda: Here(lambda chunk: hashed.append(len(chunk))))
    copy(planned(data / "a", tmp_path / "to", source=source, target=place("far", Slow)), execution="e1")
    assert (tmp_path / "to").read_bytes() == (data / "a").read_bytes()


def test_a_source_that_is_not_what_was_sent_is_an_error_though_its_size_and_time_are_as_ever(
    tmp_path: Path, data: Path
) -> None:
    time_ns = (data / "a").stat().st_mtime_ns

    class Changing(Far):
        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            super().write(path, chunks, info)
            with (data / "a").open("r+b") as file:
                file.seek(-1_000, os.SEEK_END)
                file.write(b"changed")
            os.utime(data / "a", ns=(time_ns, time_ns))

    with pytest.raises(Broken, match=f"arrived with another sha256 than local:{data}/a has"):
        copy(planned(data / "a", tmp_path / "to", target=place("far", Changing)), execution="e1")
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "to").exists()


def test_nothing_goes_on_hashing_a_source_of_this_host_when_the_sending_broke(tmp_path: Path, data: Path) -> None:
    class Breaking(Far):
        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            raise Broken("the line was cut")

    with pytest.raises(Broken, match="the line was cut"):
        copy(planned(data / "a", tmp_path / "to", target=place("far", Breaking)), execution="e1")
    threads = threading.enumerate
    wait_until(
        lambda: not [each for each in threads() if each.name == "wlm-asked"], "the end of the hashing", PATIENCE_S
    )


@pytest.mark.parametrize("slow", ["digest", "write"])
def test_a_host_that_allows_one_session_at_a_time_is_enough(tmp_path: Path, data: Path, slow: str) -> None:
    session = threading.Lock()

    class Single(Far):
        def digest(self, path: str, size_bytes: int | None = None) -> str | None:
            with self.session(is_slow=slow == "digest"):
                digest: str = self.inner.digest(path, size_bytes)
                return digest

        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            with self.session(is_slow=slow == "write"):
                super().write(path, chunks, info)

        @contextmanager
        def session(self, *, is_slow: bool) -> Iterator[None]:
            if not session.acquire(blocking=False):
                raise Broken("no channel")
            try:
                time.sleep(0.2 if is_slow else 0.0)  # long enough for the other thread to come
                yield
            finally:
                session.release()

    copy(planned(f"{data}/", tmp_path / "to", target=place("far", Single)), execution="e1")
    assert tree(tmp_path / "to") == tree(data)


@pytest.mark.parametrize("tool", [True, False], ids=["with a tool", "without a tool"])
def test_a_far_source_is_read_once_whether_it_can_hash_or_not(tmp_path: Path, data: Path, tool: bool) -> None:
    hashed: list[str] = []
    read: list[str] = []

    class Source(Far):
        can_digest = tool

        def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
            read.append(path)
            return iter(self.inner.read(path, offset))

        def digest(self, path: str, size_bytes: int | None = None) -> str | None:
            hashed.append(path)
            digest: str = self.inner.digest(path, size_bytes)
            return digest if tool else None

    summary = copy(
        planned(data / "a", tmp_path / "to", source=place("far", Source), target=place()),
        execution="e1",
    )
    assert (summary.files, (tmp_path / "to").read_bytes()) == (1, (data / "a").read_bytes())
    assert (read, hashed) == ([str(data / "a")], [str(data / "a")] * tool)


def test_a_cancel_does_not_wait_for_a_digest(tmp_path: Path, data: Path) -> None:
    hashing, released, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(_: str) -> None:
        hashing.set()
        released.wait(PATIENCE_S)
        ended.set()

    def check() -> None:
        if hashing.is_set():
            raise Cancelled("cancelled")

    made = planned(data / "a", tmp_path / "to", target=place("far", lambda: Hashing(hang)))
    try:
        with pytest.raises(Cancelled):
            copy(made, execution="e1", check=check)
        assert not ended.is_set()
    finally:
        released.set()
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "to").exists()


def test_a_connection_that_is_closed_under_a_cancelled_execution_ends_it_as_cancelled(
    tmp_path: Path, data: Path
) -> None:
    is_cancelled = False

    class Closed(Far):
        def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
            nonlocal is_cancelled
            is_cancelled = True
            raise Broken("closed")

    def check() -> None:
        if is_cancelled:
            raise Cancelled("cancelled")

    made = planned(data / "a", tmp_path / "to", target=place("far", Closed))
    with pytest.raises(Cancelled):
        copy(made, execution="e1", check=check, keeps=(Broken,))


def test_sizes_and_sources_are_looked_at_together(tmp_path: Path, data: Path) -> None:
    looked: list[int] = []

    class Looking(Far):
        def stat_many(self, paths: list[str]) -> Any:
            looked.append(len(paths))
            return self.inner.stat_many(paths)

        def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
            assert not Path(path).name.strip(".").startswith("small"), "each for itself"
            info: FileInfo | None = self.inner.stat(path, follow=follow)
            return info

    for number in range(300):
        (data / f"small{number}").write_bytes(b"x" * number)
    end = place("far", Looking)
    copy(planned(f"{data}/", tmp_path / "to", source=end, target=end), execution="e1", verify=Verify.SIZE)
    assert looked.count(300) == 2
    assert tree(tmp_path / "to") == tree(data)


def test_a_pace_is_kept_before_each_chunk_is_sent(tmp_path: Path, data: Path) -> None:
    asked = 0

    def pace(size_bytes: int) -> None:
        nonlocal asked
        assert far.written_bytes <= asked
        asked += size_bytes

    far = Far()
    (data / "small").write_bytes(b"small")
    copy(planned(f"{data}/", tmp_path / "to", target=place("far", lambda: far)), execution="e1", pace=pace)
    assert asked == far.written_bytes == 1_800_005
