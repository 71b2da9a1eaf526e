"""The contract of a transport as tests: subclass ``TransportContract``, give two fixtures, and pytest does the rest.

    class TestMine(TransportContract):
        @pytest.fixture
        def transport(self) -> Iterator[Transport]:
            with my_factory(machine, {}) as transport:
                yield transport

        @pytest.fixture
        def folder(self, transport) -> str:
            ...  # an existing, empty folder on the machine, absolute

Tests of an optional protocol are skipped where the transport does not have it.
"""

# mypy: disable-error-code="type-abstract"
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.transport import (
    CHUNK_BYTES,
    Appends,
    Bulk,
    Digests,
    FileInfo,
    Links,
    Runs,
    Space,
    Transport,
)

#: A time that a file may have, whole seconds: no protocol must keep more.
MTIME_S = 1_500_000_001.0

ODD_NAMES = [
    "plain",
    "with space",
    "  blanks around  ",
    "single'quote",
    'double"quote',
    "new\nline",
    "new\nlines\n",
    "tab\there",
    "$(touch injected)",
    "`touch injected`",
    "$HOME",
    "a;touch injected",
    "a&b|c>d<e",
    "-rf",
    "--help",
    "~",
    "*",
    "[a-z]?",
    "back\\slash",
    "\\n",
    "#hash",
    "!bang",
    "{a,b}",
    "%s%n",
    "x=y",
    "ünïcödé-文字",
    b"not-utf8-\xff\xfe".decode("utf-8", "surrogateescape"),
    "n" * 200,
    ".hidden",
    "...",
]

SIZES = [0, 1, 1000, 32 * 1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 17]

_P = TypeVar("_P")


def content_of(size_bytes: int) -> bytes:
    """Bytes that repeat in no handy period, so that a block in the wrong place shows."""
    line = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1009))
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


def info_of(content: bytes, mode: int = 0o644, mtime_s: float = MTIME_S) -> FileInfo:
    """The info that ``write`` wants with ``content``."""
    return FileInfo("", "file", len(content), mode, mtime_s)


def put(transport: Transport, path: str, content: bytes = b"", mode: int = 0o644) -> None:
    """Write ``content`` to ``path``."""
    transport.write(path, [content] if content else [], info_of(content, mode))


def get(transport: Transport, path: str, offset: int = 0) -> bytes:
    """All that ``read`` yields."""
    return b"".join(transport.read(path, offset))


def with_protocol(transport: Transport, protocol: type[_P]) -> _P:
    """``transport`` as what it also is; the test is skipped where it is not."""
    if not isinstance(transport, protocol):
        pytest.skip(f"this transport has no {protocol.__name__}")
    return transport


class TransportContract:
    """Every sentence of ``wlmctl.transport`` about a transport. Fixtures of the subclass: ``transport``, ``folder``."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        """An open transport, closed after the test."""
        raise NotImplementedError("the subclass gives the fixture 'transport'")

    @pytest.fixture
    def folder(self, transport: Transport) -> str:
        """An existing, empty, absolute folder on the machine."""
        raise NotImplementedError("the subclass gives the fixture 'folder'")

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
        transport.write(f"{folder}/f", iter(chunks), info_of(content))
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

    def test_symlinks_are_seen_as_themselves_unless_followed(self, transport: Transport, folder: str) -> None:
        links = with_protocol(transport, Links)
        put(transport, f"{folder}/file", b"four")
        transport.makedirs(f"{folder}/dir/below")
        links.symlink("file", f"{folder}/to-file")
        links.symlink("dir", f"{folder}/to-dir")
        links.symlink("absent target\nline", f"{folder}/dangling")
        assert links.readlink(f"{folder}/dangling") == "absent target\nline"
        itself, followed = transport.stat(f"{folder}/to-file"), transport.stat(f"{folder}/to-file", follow=True)
        assert itself is not None
        assert followed is not None
        assert (itself.kind, itself.target) == ("symlink", "file")
        assert (followed.kind, followed.size_bytes) == ("file", 4)
        assert transport.stat(f"{folder}/dangling", follow=True) is None
        seen = {info.path: (info.kind, info.target) for info in transport.walk(folder)}
        assert seen["to-dir"] == ("symlink", "dir")
        assert seen["dangling"] == ("symlink", "absent target\nline")
        assert "to-dir/below" not in seen

    def test_a_symlink_is_replaced_and_removed_but_never_its_target(self, transport: Transport, folder: str) -> None:
        links = with_protocol(transport, Links)
        transport.makedirs(f"{folder}/dir")
        put(transport, f"{folder}/dir/kept", b"kept")
        links.symlink("elsewhere", f"{folder}/link")
        links.symlink("dir", f"{folder}/link")
        assert links.readlink(f"{folder}/link") == "dir"
        put(transport, f"{folder}/file", b"file")
        transport.rename(f"{folder}/file", f"{folder}/link")
        assert get(transport, f"{folder}/link") == b"file"
        links.symlink("dir", f"{folder}/other")
        transport.remove(f"{folder}/other")
        assert transport.stat(f"{folder}/other") is None
        assert get(transport, f"{folder}/dir/kept") == b"kept"

    def test_readlink_of_a_file_is_denied_and_of_nothing_not_found(self, transport: Transport, folder: str) -> None:
        links = with_protocol(transport, Links)
        put(transport, f"{folder}/file", b"x")
        with pytest.raises(Denied):
            links.readlink(f"{folder}/file")
        with pytest.raises(NotFound):
            links.readlink(f"{folder}/absent")

    def test_append_goes_on_at_the_end_only(self, transport: Transport, folder: str) -> None:
        appends = with_protocol(transport, Appends)
        put(transport, f"{folder}/f", b"begin ")
        appends.append(f"{folder}/f", 6, iter([b"middle ", b"end"]))
        assert get(transport, f"{folder}/f") == b"begin middle end"
        with pytest.raises(Broken):
            appends.append(f"{folder}/f", 6, [b"wrong"])
        assert get(transport, f"{folder}/f") == b"begin middle end"

    def test_digest_is_the_sha256_of_the_content(self, transport: Transport, folder: str) -> None:
        digests = with_protocol(transport, Digests)
        for name, content in (("plain", content_of(100_000)), ("-odd 'n' $(x)\n", b"")):
            put(transport, f"{folder}/{name}", content)
            assert digests.digest(f"{folder}/{name}") in (hashlib.sha256(content).hexdigest(), None)
        with pytest.raises(NotFound):
            assert digests.digest(f"{folder}/absent") is None

    def test_free_bytes_is_known_or_none_also_below_what_is_not_there(self, transport: Transport, folder: str) -> None:
        free = with_protocol(transport, Space).free_bytes(f"{folder}/not/yet/there")
        assert free is None or free > 0

    def test_many_small_files_both_ways(self, transport: Transport, folder: str) -> None:
        bulk = with_protocol(transport, Bulk)
        names = [f"{folder}/{name}" for name in ODD_NAMES] + [f"{folder}/many/{number}" for number in range(150)]
        transport.makedirs(f"{folder}/many")
        files = [(path, content_of(number * 37 % 5000), path) for number, path in enumerate(names)]
        files.append((f"{folder}/largest", content_of(CHUNK_BYTES), "largest"))
        bulk.write_many((path, content, info_of(content, 0o640)) for path, content, _ in files)
        read = list(bulk.read_many([path for path, _, _ in files]))
        assert [path for path, _ in read] == [path for path, _, _ in files]
        assert all(content == written for (_, content), (_, written, _) in zip(read, files, strict=True))
        seen = transport.stat(names[-1])
        assert seen is not None
        assert (seen.mode, int(seen.mtime_s)) == (0o640, int(MTIME_S))

    def test_one_bad_file_among_many_is_named_and_the_rest_goes_on(self, transport: Transport, folder: str) -> None:
        bulk = with_protocol(transport, Bulk)
        paths = [f"{folder}/{number}" for number in range(100)]
        bulk.write_many((path, b"content", info_of(b"content")) for path in paths)
        with pytest.raises(NotFound, match="absent"):
            list(bulk.read_many([*paths[:50], f"{folder}/absent", *paths[50:]]))
        with pytest.raises(NotFound, match="absent"):
            bulk.write_many(
                (path, b"new", info_of(b"new")) for path in [*paths[:50], f"{folder}/absent/x", *paths[50:]]
            )
        assert get(transport, paths[0]) == b"new"
        assert [content for _, content in bulk.read_many(paths[:10])] == [b"new"] * 10

    def test_run_gives_exit_code_and_both_outputs(self, transport: Transport) -> None:
        runs = with_protocol(transport, Runs)
        done = runs.run("echo out; echo err >&2; exit 7")
        assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")

    def test_run_is_sh_and_takes_any_text(self, transport: Transport) -> None:
        runs = with_protocol(transport, Runs)
        text = "a 'b' \"c\" $(d) `e` \\f !g ~ * ; & | > <\ttab\nline\udcff"
        quoted = "'" + text.replace("'", "'\\''") + "'"
        assert runs.run(f"printf %s {quoted}").stdout.decode("utf-8", "surrogateescape") == text

    def test_run_feeds_stdin_and_both_outputs_may_be_large(self, transport: Transport) -> None:
        runs = with_protocol(transport, Runs)
        content = content_of(3_000_000)
        done = runs.run("head -c 3000000 /dev/zero >&2; cat", stdin=content)
        assert done.stdout == content
        assert len(done.stderr) == 3_000_000
        assert runs.run("exit 4", stdin=content).exit_code == 4

    def test_run_ended_by_a_signal_is_128_and_its_number(self, transport: Transport) -> None:
        assert with_protocol(transport, Runs).run("kill -9 $$").exit_code == 137

    def test_run_that_takes_too_long_is_broken(self, transport: Transport) -> None:
        with pytest.raises(Broken):
            with_protocol(transport, Runs).run("sleep 60", timeout_s=0.3)
