"""The part of the contract about what a transport may have; ``wlmctl.testing.transport`` has the whole."""

# mypy: disable-error-code="type-abstract"
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

import pytest

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.testing.samples import (
    MTIME_S,
    ODD_NAMES,
    content_of,
    get,
    info_of,
    put,
    with_protocol,
)
from wlmctl.transport import (
    CHUNK_BYTES,
    Appends,
    Attributes,
    Bulk,
    BulkFolders,
    BulkNames,
    Copies,
    Digests,
    FileInfo,
    Links,
    Runs,
    Space,
    Transport,
)


class OptionalContract:
    """Every sentence about the optional protocols; tests of one that the transport lacks are skipped."""

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

    @pytest.mark.parametrize("mode", [0o600, 0o444, 0o755])
    def test_mode_and_mtime_change_and_the_content_stays(self, transport: Transport, folder: str, mode: int) -> None:
        path = f"{folder}/-odd 'n' $(x)"
        put(transport, path, b"content")
        with_protocol(transport, Attributes).set_attributes(path, FileInfo("", "file", 7, mode, 1_400_000_002.0))
        seen = transport.stat(path)
        assert seen is not None
        assert (seen.mode, int(seen.mtime_s)) == (mode, 1_400_000_002)
        assert get(transport, path) == b"content"
        with pytest.raises(NotFound):
            with_protocol(transport, Attributes).set_attributes(f"{folder}/absent", info_of(b""))

    def test_digest_is_the_sha256_of_the_content(self, transport: Transport, folder: str) -> None:
        digests = with_protocol(transport, Digests)
        for name, content in (("plain", content_of(100_000)), ("-odd 'n' $(x)\n", b"")):
            put(transport, f"{folder}/{name}", content)
            expected = hashlib.sha256(content).hexdigest() if digests.can_digest else None
            assert digests.digest(f"{folder}/{name}") == expected
        with pytest.raises(NotFound):
            assert digests.digest(f"{folder}/absent") is None

    def test_a_digest_is_taken_while_another_thread_writes(self, transport: Transport, folder: str) -> None:
        digests = with_protocol(transport, Digests)
        content = content_of(3_000_000)
        put(transport, f"{folder}/f", content)
        taken: list[str | None] = []

        def chunks() -> Iterator[bytes]:
            hashing = Thread(target=lambda: taken.append(digests.digest(f"{folder}/f")))
            yield content[:CHUNK_BYTES]
            hashing.start()
            for at in range(CHUNK_BYTES, len(content), CHUNK_BYTES):
                yield content[at : at + CHUNK_BYTES]
            hashing.join(30)

        transport.write(f"{folder}/g", chunks(), info_of(content))
        assert taken in ([hashlib.sha256(content).hexdigest()], [None])
        assert get(transport, f"{folder}/g") == content

    def test_the_digest_of_a_beginning_is_that_of_so_many_bytes(self, transport: Transport, folder: str) -> None:
        digests = with_protocol(transport, Digests)
        content = content_of(300_000)
        put(transport, f"{folder}/f", content)
        for size_bytes in (0, 1, 262_144, 299_999, 300_000, 400_000):
            expected = hashlib.sha256(content[:size_bytes]).hexdigest()
            assert digests.digest(f"{folder}/f", size_bytes) in (expected, None)

    def test_a_file_or_its_beginning_is_copied_on_the_far_side(self, transport: Transport, folder: str) -> None:
        copies = with_protocol(transport, Copies)
        content = content_of(300_000)
        put(transport, f"{folder}/-a 'b'", content)
        put(transport, f"{folder}/old", b"something longer that goes away" * 20_000)
        for name, size_bytes in (("whole", None), ("none", 0), ("part", 100_001), ("old", 5), ("more", 400_000)):
            if copies.copy(f"{folder}/-a 'b'", f"{folder}/{name}", size_bytes):
                assert get(transport, f"{folder}/{name}") == content[:size_bytes]
        assert get(transport, f"{folder}/-a 'b'") == content
        with suppress(NotFound):
            assert not copies.copy(f"{folder}/absent", f"{folder}/nothing")
        assert transport.stat(f"{folder}/nothing") is None

    def test_many_names_are_looked_at_and_renamed(self, transport: Transport, folder: str) -> None:
        names = with_protocol(transport, BulkNames)
        for number in range(100):
            put(transport, f"{folder}/{number}", b"x" * number)
        looked = list(names.stat_many([f"{folder}/{number}" for number in (5, 99, 100, 7)]))
        assert [info and info.size_bytes for info in looked] == [5, 99, None, 7]
        put(transport, f"{folder}/new-0", b"replaced")
        names.rename_many([(f"{folder}/{number}", f"{folder}/new-{number}") for number in range(100)])
        assert get(transport, f"{folder}/new-0") == b""
        assert get(transport, f"{folder}/new-99") == b"x" * 99
        assert transport.stat(f"{folder}/5") is None
        with pytest.raises((NotFound, Denied), match="new-absent"):
            names.rename_many([(f"{folder}/absent", f"{folder}/new-absent")])

    def test_many_folders_are_made_each_with_its_mode(self, transport: Transport, folder: str) -> None:
        bulk = with_protocol(transport, BulkFolders)
        modes = {f"{folder}/{number}": 0o755 if number % 3 else 0o700 for number in range(100)}
        modes |= {f"{path}/-in 'it'": mode for path, mode in modes.items()}
        transport.makedirs(f"{folder}/7/there already")
        bulk.makedirs_many([*modes.items(), (f"{folder}/7", 0o700)])
        seen = {f"{folder}/{info.path}": info.mode & 0o755 for info in transport.walk(folder)}
        assert {path: seen[path] for path in modes if path != f"{folder}/7"} == {
            path: mode for path, mode in modes.items() if path != f"{folder}/7"
        }
        assert f"{folder}/7/there already" in seen
        put(transport, f"{folder}/a file", b"x")
        with pytest.raises(Denied, match="a file"):
            bulk.makedirs_many([(f"{folder}/a file", 0o755)])

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
