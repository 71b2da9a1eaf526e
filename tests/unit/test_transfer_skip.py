"""What a target, or its machine, has already is not sent."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far, Narrow, far_host, leftovers, place, planned, this_host, tree
from wlmctl.errors import NoSpace
from wlmctl.transfer import Progress, Summary, Verify, copy
from wlmctl.transport import FileInfo

MB = 1_000_000


def content(size_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def copied(far: Any, what: Any, to: Any, source: Any = this_host, **options: Any) -> Summary:
    made = planned(what, to, source=place("nas", source), target=place("far", lambda: far))
    return copy(made, execution="e1", **options)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for number in range(20):
        (data / "sub" / f"small{number}").write_bytes(content(1000, number))
    (data / "large").write_bytes(content(3 * MB))
    (data / "link").symlink_to("sub")
    for path in data.rglob("*"):
        os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)
    return data


def rewritten(path: Path, seed: int = 99) -> None:
    """The same size and times, another content."""
    times = path.stat().st_atime, path.stat().st_mtime
    path.write_bytes(content(path.stat().st_size, seed))
    os.utime(path, times)


SOURCES = [this_host, far_host, lambda: Narrow(this_host())]


@pytest.mark.parametrize("open_source", SOURCES, ids=["this host", "hashes itself", "is read"])
@pytest.mark.parametrize("verify", [Verify.SHA256, Verify.SIZE])
def test_a_second_copy_sends_nothing_and_says_so(tmp_path: Path, data: Path, verify: Verify, open_source: Any) -> None:
    copied(Far(), f"{data}/", tmp_path / "to", verify=verify)
    far = Far()
    told: list[Progress] = []
    summary = copied(far, f"{data}/", tmp_path / "to", open_source, verify=verify, progress=told.append)
    assert far.written_bytes == 0
    assert (summary.files, summary.skipped, summary.sent_bytes, summary.size_bytes) == (22, 22, 0, 3 * MB + 20_000)
    assert "22 there already" in summary.told()
    assert (told[-1].bytes_done, told[-1].files_done, told[-1].skipped) == (3 * MB + 20_000, 22, 22)


def test_only_what_differs_is_sent_and_time_is_no_proof(tmp_path: Path, data: Path) -> None:
    copied(Far(), f"{data}/", tmp_path / "to")
    rewritten(data / "large")
    rewritten(data / "sub" / "small7")
    far = Far()
    assert copied(far, f"{data}/", tmp_path / "to").skipped == 20
    assert far.written_bytes == 3 * MB + 1000
    assert tree(tmp_path / "to") == tree(data)


@pytest.mark.parametrize("name", ["large", "sub/small3"])
def test_mode_and_time_are_mended_without_sending(tmp_path: Path, data: Path, name: str) -> None:
    copied(Far(), f"{data}/", tmp_path / "to")
    (data / name).chmod(0o751)
    os.utime(data / name, (1_400_000_000, 1_400_000_000))
    far = Far()
    assert copied(far, f"{data}/", tmp_path / "to").skipped == 22
    there = (tmp_path / "to" / name).stat()
    assert (there.st_mode & 0o777, there.st_mtime) == (0o751, 1_400_000_000)
    assert far.written_bytes == 0


def test_by_size_what_has_another_time_is_sent_and_by_none_everything(tmp_path: Path, data: Path) -> None:
    copied(Far(), f"{data}/", tmp_path / "to")
    os.utime(data / "large", (1_400_000_000, 1_400_000_000))
    assert copied(Far(), f"{data}/", tmp_path / "to", verify=Verify.SIZE).sent_bytes == 3 * MB
    assert copied(Far(), f"{data}/", tmp_path / "to", verify=Verify.NONE).sent_bytes == 3 * MB + 20_000


def test_an_end_without_digests_is_read_back_until_it_differs(tmp_path: Path, data: Path) -> None:
    class Reading(Narrow):
        read_bytes = 0

        def read(self, path: str, offset: int = 0) -> Any:
            for chunk in super().read(path, offset):
                self.read_bytes += len(chunk)
                yield chunk

    copied(Far(), data / "large", tmp_path / "to")
    same = Reading(this_host())
    assert copied(same, data / "large", tmp_path / "to").skipped == 1
    assert same.read_bytes == 3 * MB
    rewritten(data / "large")
    other = Reading(this_host())
    assert copied(other, data / "large", tmp_path / "to", verify=Verify.SHA256).skipped == 0
    assert other.read_bytes < 2 * 3 * MB  # the first chunk, and all of the new content to compare it
    assert (tmp_path / "to").read_bytes() == (data / "large").read_bytes()


def test_after_an_error_nothing_is_removed_that_was_never_written(tmp_path: Path, data: Path) -> None:
    removed: list[str] = []

    class Removing(Far):
        def remove(self, path: str) -> None:
            removed.append(Path(path).name)
            self.inner.remove(path)

        def write(self, path: str, chunks: Any, info: FileInfo) -> None:
            raise NoSpace("full")

    copied(Far(), f"{data}/", tmp_path / "to")
    rewritten(data / "large")
    with pytest.raises(NoSpace):
        copied(Removing(), f"{data}/", tmp_path / "to")
    assert removed == [".large.wlm-e1"]


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "scratch" / "cache").glob("*"))


def test_content_that_a_machine_was_given_once_is_given_out_there(tmp_path: Path, data: Path) -> None:
    cache = f"{tmp_path}/scratch/cache"
    assert copied(Far(), data, f"{tmp_path}/one/", cache=cache).reused == 0
    (entry,) = cached(tmp_path)
    assert entry.stat().st_mode & 0o777 == 0o444
    assert entry.read_bytes() == (data / "large").read_bytes()
    os.utime(entry, (1, 1))
    (data / "large").rename(data / "under another name")
    far = Far()
    summary = copied(far, data, f"{tmp_path}/two/", cache=cache)
    assert (summary.reused, summary.sent_bytes, far.written_bytes) == (1, 20_000, 20_000)
    assert "1 from the cache" in summary.told()
    assert tree(tmp_path / "two" / "data") == tree(data)
    there = (tmp_path / "two" / "data" / "under another name").stat()
    assert (there.st_mode & 0o777, there.st_mtime) == ((data / "under another name").stat().st_mode & 0o777, 1.5e9)
    assert entry.stat().st_mtime > 1, "it was used now"
    assert leftovers(tmp_path) == []


def test_an_entry_that_is_not_what_its_name_says_is_removed_and_the_file_is_sent(tmp_path: Path, data: Path) -> None:
    cache = f"{tmp_path}/scratch/cache"
    copied(Far(), data / "large", tmp_path / "one", cache=cache)
    (entry,) = cached(tmp_path)
    entry.chmod(0o644)
    rewritten(entry)
    summary = copied(Far(), data / "large", tmp_path / "two", cache=cache)
    assert (summary.reused, summary.sent_bytes) == (0, 3 * MB)
    assert (tmp_path / "two").read_bytes() == (data / "large").read_bytes()
    assert [path.read_bytes() for path in cached(tmp_path)] == [(data / "large").read_bytes()]


def test_an_end_that_cannot_copy_by_itself_has_no_cache(tmp_path: Path, data: Path) -> None:
    copied(Narrow(far_host()), data / "large", tmp_path / "one", cache=f"{tmp_path}/scratch/cache")
    assert (tmp_path / "one").read_bytes() == (data / "large").read_bytes()
    assert cached(tmp_path) == []
