"""The part of the contract that every transport must keep; ``wlmctl.testing.transport`` has the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.testing.samples import MTIME_S, ODD_NAMES, SIZES, content_of, get, info_of, put
from wlmctl.transport import CHUNK_BYTES, FileInfo, Transport


class RequiredContract:
    """Every sentence about ``wlmctl.transport.Transport`` itself."""

    def test_it_is_a_transport_and_its_home_is_an_absolute_folder(self, transport: Transport) -> None:
        assert isinstance(transport, Transport)
        home = transport.stat(transport.home(), follow=True)
        assert transport.home().startswith("/")
        assert home is not None
        assert home.kind == "directory"

    def test_closing_twice_does_nothing(self, transport: Transport) -> None:
        transport.close()
        transport.close()

    def test_stat_of_nothing_is_none(self, transport: Transport, folder: str) -> None:
        assert transport.stat(f"{folder}/absent") is None
        assert transport.stat(f"{folder}/absent/below") is None

    def test_stat_below_a_file_is_none(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/file", b"x")
        assert transport.stat(f"{folder}/file/below") is None

    @pytest.mark.parametrize("size_bytes", SIZES)
    def test_what_was_written_is_read_back(self, transport: Transport, folder: str, size_bytes: int) -> None:
        content = content_of(size_bytes)
        chunks = [content[at : at + CHUNK_BYTES] for at in range(0, size_bytes, CHUNK_BYTES)]
        told_bytes = transport.write(f"{folder}/f", iter(chunks), info_of(content))
        assert told_bytes in (None, len(content)), f"{told_bytes} bytes are told of {len(content)}"
        pieces = list(transport.read(f"{folder}/f"))
        assert b"".join(pieces) == content
        assert max(map(len, pieces), default=0) <= CHUNK_BYTES

    def test_many_tiny_chunks_arrive_in_order(self, transport: Transport, folder: str) -> None:
        content = content_of(9001)
        transport.write(f"{folder}/f", (content[at : at + 7] for at in range(0, 9001, 7)), info_of(content))
        assert get(transport, f"{folder}/f") == content

    @pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o400, 0o777])
    def test_mode_size_and_mtime_are_kept(self, transport: Transport, folder: str, mode: int) -> None:
        put(transport, f"{folder}/f", b"four", mode)
        seen = transport.stat(f"{folder}/f")
        assert seen is not None
        assert (seen.path, seen.kind, seen.size_bytes, seen.mode) == (f"{folder}/f", "file", 4, mode)
        assert int(seen.mtime_s) == int(MTIME_S)

    def test_writing_again_replaces_a_longer_file(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/f", b"a long content", 0o755)
        put(transport, f"{folder}/f", b"short", 0o640)
        assert get(transport, f"{folder}/f") == b"short"
        seen = transport.stat(f"{folder}/f")
        assert seen is not None
        assert seen.mode == 0o640

    @pytest.mark.parametrize("offset", [1, 999, CHUNK_BYTES, CHUNK_BYTES + 5, 2 * CHUNK_BYTES])
    def test_reading_from_an_offset(self, transport: Transport, folder: str, offset: int) -> None:
        content = content_of(2 * CHUNK_BYTES)
        put(transport, f"{folder}/f", content)
        assert get(transport, f"{folder}/f", offset) == content[offset:]

    def test_a_read_may_be_abandoned_and_others_go_on(self, transport: Transport, folder: str) -> None:
        content = content_of(40 * CHUNK_BYTES)
        put(transport, f"{folder}/f", content)
        reading: Any = transport.read(f"{folder}/f")
        assert content.startswith(next(reading))
        reading.close()
        assert get(transport, f"{folder}/f") == content

    def test_reading_while_writing_to_the_same_machine(self, transport: Transport, folder: str) -> None:
        content = content_of(12 * CHUNK_BYTES)
        put(transport, f"{folder}/a", content)
        transport.write(f"{folder}/b", transport.read(f"{folder}/a"), info_of(content))
        assert get(transport, f"{folder}/b") == content

    def test_too_few_bytes_are_broken(self, transport: Transport, folder: str) -> None:
        with pytest.raises(Broken):
            transport.write(f"{folder}/f", [b"abc"], FileInfo("", "file", 4))
        put(transport, f"{folder}/g", b"goes on")
        assert get(transport, f"{folder}/g") == b"goes on"

    def test_too_many_bytes_are_broken(self, transport: Transport, folder: str) -> None:
        with pytest.raises(Broken):
            transport.write(f"{folder}/f", [b"abc", b"def"], FileInfo("", "file", 4))
        put(transport, f"{folder}/g", b"goes on")
        assert get(transport, f"{folder}/g") == b"goes on"

    def test_an_error_of_the_source_comes_through(self, transport: Transport, folder: str) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"abc"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            transport.write(f"{folder}/f", chunks(), FileInfo("", "file", 6))
        put(transport, f"{folder}/g", b"goes on")
        assert get(transport, f"{folder}/g") == b"goes on"

    def test_reading_nothing_is_not_found(self, transport: Transport, folder: str) -> None:
        with pytest.raises(NotFound, match="absent"):
            get(transport, f"{folder}/absent")
        with pytest.raises(NotFound, match="absent"):
            get(transport, f"{folder}/absent", 5)

    def test_reading_a_folder_is_denied(self, transport: Transport, folder: str) -> None:
        with pytest.raises(Denied):
            get(transport, folder)

    def test_writing_into_a_missing_folder_is_not_found(self, transport: Transport, folder: str) -> None:
        with pytest.raises(NotFound):
            put(transport, f"{folder}/absent/f", b"x")

    def test_writing_over_a_folder_is_denied(self, transport: Transport, folder: str) -> None:
        transport.makedirs(f"{folder}/d")
        with pytest.raises(Denied):
            put(transport, f"{folder}/d", b"x")
        assert list(transport.walk(f"{folder}/d")) == []

    def test_walking_what_is_not_there_is_not_found(self, transport: Transport, folder: str) -> None:
        with pytest.raises(NotFound):
            list(transport.walk(f"{folder}/absent"))

    def test_walk_of_an_empty_folder_is_empty(self, transport: Transport, folder: str) -> None:
        assert list(transport.walk(folder)) == []

    def test_walk_gives_all_below_relative_and_a_folder_before_its_content(
        self, transport: Transport, folder: str
    ) -> None:
        transport.makedirs(f"{folder}/a/b")
        transport.makedirs(f"{folder}/empty")
        for name, content in (("a/b/deep", b"123"), ("a/f", b"1"), ("top", b"")):
            put(transport, f"{folder}/{name}", content, 0o640)
        seen = list(transport.walk(folder))
        paths = [info.path for info in seen]
        assert sorted(paths) == ["a", "a/b", "a/b/deep", "a/f", "empty", "top"]
        assert paths.index("a") < paths.index("a/b") < paths.index("a/b/deep")
        deep = next(info for info in seen if info.path == "a/b/deep")
        assert (deep.kind, deep.size_bytes, deep.mode, int(deep.mtime_s)) == ("file", 3, 0o640, int(MTIME_S))
        assert {info.kind for info in seen if info.path in ("a", "a/b", "empty")} == {"directory"}

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_name_survives(self, transport: Transport, folder: str, name: str) -> None:
        there, here = f"{folder}/{name}", f"{folder}/in/{name}"
        put(transport, there, name.encode("utf-8", "surrogateescape"))
        seen = transport.stat(there)
        assert seen is not None
        assert seen.kind == "file"
        assert get(transport, there).decode("utf-8", "surrogateescape") == name
        assert get(transport, there, 1) == name.encode("utf-8", "surrogateescape")[1:]
        assert [info.path for info in transport.walk(folder)] == [name]
        transport.makedirs(here)
        transport.rename(there, f"{here}/{name}")
        assert transport.stat(there) is None
        assert sorted(info.path for info in transport.walk(f"{folder}/in")) == sorted([name, f"{name}/{name}"])
        transport.remove(here)
        assert transport.stat(here) is None
        assert [info.path for info in transport.walk(folder)] == ["in"]

    def test_makedirs_makes_parents_and_is_content_with_what_is_there(self, transport: Transport, folder: str) -> None:
        transport.makedirs(f"{folder}/a/b/c", 0o700)
        transport.makedirs(f"{folder}/a/b/c", 0o755)
        seen = transport.stat(f"{folder}/a/b/c")
        assert seen is not None
        assert (seen.kind, seen.mode & 0o777) == ("directory", 0o700)

    def test_makedirs_over_a_file_is_denied(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/f", b"x")
        with pytest.raises(Denied):
            transport.makedirs(f"{folder}/f")

    def test_remove_takes_a_whole_folder_and_nothing_is_no_error(self, transport: Transport, folder: str) -> None:
        transport.makedirs(f"{folder}/d/e/f")
        put(transport, f"{folder}/d/e/file", b"x", 0o400)
        transport.remove(f"{folder}/d")
        transport.remove(f"{folder}/d")
        assert transport.stat(f"{folder}/d") is None

    def test_rename_replaces_a_file(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/new", b"new")
        put(transport, f"{folder}/old", b"old")
        transport.rename(f"{folder}/new", f"{folder}/old")
        assert get(transport, f"{folder}/old") == b"new"
        assert transport.stat(f"{folder}/new") is None

    def test_rename_moves_a_folder(self, transport: Transport, folder: str) -> None:
        transport.makedirs(f"{folder}/d/e")
        put(transport, f"{folder}/d/e/f", b"x")
        transport.rename(f"{folder}/d", f"{folder}/moved")
        assert get(transport, f"{folder}/moved/e/f") == b"x"

    def test_rename_of_nothing_is_not_found(self, transport: Transport, folder: str) -> None:
        with pytest.raises(NotFound):
            transport.rename(f"{folder}/absent", f"{folder}/there")

    def test_rename_of_a_file_over_a_folder_is_denied(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/f", b"x")
        transport.makedirs(f"{folder}/d")
        with pytest.raises(Denied):
            transport.rename(f"{folder}/f", f"{folder}/d")
        assert list(transport.walk(f"{folder}/d")) == []
