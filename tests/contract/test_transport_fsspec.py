"""The transport ``fsspec`` against the shipped contract, less what an object store cannot do; and web servers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wlmctl_transport_fsspec import open_fsspec
from wlmctl_transport_fsspec.store import StoreTransport

from tests.services.stores import S3_ENV, SECRET, Bucket, Web, s3_server, web_server
from wlmctl.errors import Broken, ConfigError, Denied, LoginRefused, NotFound, Unreachable
from wlmctl.machine import Machine
from wlmctl.testing.transport import ODD_NAMES, TransportContract, content_of, get, info_of, put
from wlmctl.transport import CHUNK_BYTES, Attributes, BulkNames, Runs, Transport


def opened(options: dict[str, Any]) -> Transport:
    return open_fsspec(Machine("store", transport="fsspec", transport_options=options), options)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3_ENV.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def bucket(server: Any) -> Bucket:
    made: Bucket = server("lab")
    return made


#: Less control characters, which the S3 server of the tests cannot take, and what is not UTF-8.
_NAMES = [name for name in ODD_NAMES if name.isprintable()]


class StoreContract(TransportContract):
    """What keeps neither modes nor times, and has no folders but those in which something lies."""

    @pytest.mark.parametrize("mode", [0o755])
    def test_mode_size_and_mtime_are_kept(self, transport: Transport, folder: str, mode: int) -> None:
        put(transport, f"{folder}/f", b"four", mode)
        seen = transport.stat(f"{folder}/f")
        assert seen is not None
        assert (seen.path, seen.kind, seen.size_bytes, seen.mode) == (f"{folder}/f", "file", 4, 0o644)
        assert not isinstance(transport, Attributes)

    def test_writing_again_replaces_a_longer_file(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/f", b"a long content")
        put(transport, f"{folder}/f", b"short")
        assert get(transport, f"{folder}/f") == b"short"

    def test_writing_into_a_missing_folder_is_not_found(self, transport: Transport, folder: str) -> None:
        put(transport, f"{folder}/absent/f", b"a key is all that it takes")
        seen = transport.stat(f"{folder}/absent")
        assert seen is not None
        assert seen.kind == "directory"

    def test_makedirs_makes_parents_and_is_content_with_what_is_there(self, transport: Transport, folder: str) -> None:
        for _ in range(2):
            transport.makedirs(f"{folder}/a/b/c")
        seen = transport.stat(f"{folder}/a/b")
        assert seen is not None
        assert seen.kind == "directory"

    def test_walk_gives_all_below_relative_and_a_folder_before_its_content(
        self, transport: Transport, folder: str
    ) -> None:
        transport.makedirs(f"{folder}/empty")
        for name in ("a/b/deep", "a/f", "a-b/f", "top"):
            put(transport, f"{folder}/{name}", b"123")
        paths = [info.path for info in transport.walk(folder)]
        assert sorted(paths) == ["a", "a-b", "a-b/f", "a/b", "a/b/deep", "a/f", "empty", "top"]
        assert paths.index("a") < paths.index("a/b") < paths.index("a/b/deep")

    @pytest.mark.parametrize("name", _NAMES)
    def test_any_name_survives(self, transport: Transport, folder: str, name: str) -> None:
        super().test_any_name_survives(transport, folder, name)

    def test_many_small_files_both_ways(self, transport: Transport, folder: str) -> None:
        assert hasattr(transport, "read_many")
        assert hasattr(transport, "write_many")
        paths = [f"{folder}/many/{number}" for number in range(100)]
        transport.write_many((path, content_of(n * 37), info_of(content_of(n * 37))) for n, path in enumerate(paths))
        assert list(transport.read_many(paths)) == [(path, content_of(n * 37)) for n, path in enumerate(paths)]

    def test_many_names_are_looked_at_and_renamed(self, transport: Transport, folder: str) -> None:
        assert isinstance(transport, BulkNames)
        for number in range(5):
            put(transport, f"{folder}/{number}", b"x" * number)
        looked = list(transport.stat_many([f"{folder}/{number}" for number in (3, 9, 1)]))
        assert [info and info.size_bytes for info in looked] == [3, None, 1]
        transport.rename_many([(f"{folder}/{number}", f"{folder}/new-{number}") for number in range(5)])
        assert sorted(info.path for info in transport.walk(folder)) == [f"new-{number}" for number in range(5)]
        with pytest.raises(NotFound, match="new-absent"):
            transport.rename_many([(f"{folder}/absent", f"{folder}/new-absent")])

    def test_one_bad_file_among_many_is_named_and_the_rest_goes_on(self, transport: Transport, folder: str) -> None:
        assert hasattr(transport, "read_many")
        put(transport, f"{folder}/there", b"x")
        with pytest.raises(NotFound, match="absent"):
            list(transport.read_many([f"{folder}/there", f"{folder}/absent"]))
        assert get(transport, f"{folder}/there") == b"x"


@pytest.fixture(scope="module")
def s3(bucket: Bucket) -> Iterator[Any]:
    """One session for many transports: to make one takes a third of a second."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3_ENV.items():
            patch.setenv(name, value)
        with opened(bucket.options()) as transport:
            yield transport._fs  # type: ignore[attr-defined]


class TestS3(StoreContract):
    @pytest.fixture
    def transport(self, s3: Any) -> Iterator[Transport]:
        with StoreTransport("store", s3, "lab", lambda: None) as transport:
            yield transport

    @pytest.fixture
    def folder(self, transport: Transport, request: pytest.FixtureRequest) -> str:
        folder = f"/{abs(hash(request.node.name))}"
        transport.makedirs(folder)
        return folder


class TestMemory(StoreContract):
    """Any store of fsspec's, here the simplest: it has folders, and renames on its own."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        from fsspec.implementations.memory import MemoryFileSystem

        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = ["", "/lab"]
        with opened({"url": "memory://lab"}) as transport:
            yield transport

    @pytest.fixture
    def folder(self, transport: Transport) -> str:
        transport.makedirs("/folder")
        return "/folder"


def test_a_name_that_is_not_utf8_is_denied(s3: Any) -> None:
    with StoreTransport("store", s3, "lab", lambda: None) as transport, pytest.raises(Denied, match="UTF-8"):
        put(transport, "/not-\udcff", b"x")


def test_a_large_file_goes_in_parts_and_a_broken_one_leaves_nothing(s3: Any, bucket: Bucket) -> None:
    content = content_of(20 << 20)
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    with StoreTransport("store", s3, "lab", lambda: None) as transport:
        transport.write("/large/f", iter(chunks), info_of(content))
        assert bucket.content()["large/f"] == content
        assert b"".join(transport.read("/large/f", 9 << 20)) == content[9 << 20 :]
        with pytest.raises(Broken, match="shrank"):
            transport.write("/large/g", iter(chunks[:-1]), info_of(content))
        with pytest.raises(ZeroDivisionError):
            transport.write("/large/h", (chunk if at < 50 else chunk[: 1 // 0] for at, chunk in enumerate(chunks)),
                            info_of(content))  # fmt: skip
        assert [info.path for info in transport.walk("/large")] == ["f"]
        assert bucket.uploads == []
        transport.remove("/large")


def test_a_large_file_that_breaks_off_leaves_nothing_in_a_folder_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def breaks_off() -> Iterator[bytes]:
        yield b"x" * CHUNK_BYTES
        raise Broken("cut")

    with opened({"url": f"file://{tmp_path}"}) as transport:
        with pytest.raises(Broken, match="cut"):
            transport.write("/large", breaks_off(), info_of(bytes(100 * CHUNK_BYTES)))
        assert transport.stat("/large") is None
        assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_bucket_is_a_machine_of_its_own(bucket: Bucket) -> None:
    bucket.put("above", b"not seen")
    with opened(bucket.options("/deep/folder")) as transport:
        assert list(transport.walk("/")) == []
        put(transport, "/a/b", b"content")
        assert bucket.content()["deep/folder/a/b"] == b"content"
        assert [info.path for info in transport.walk("/")] == ["a", "a/b"]
        assert not isinstance(transport, Runs)


def test_the_mark_that_others_make_for_an_empty_folder_is_a_folder(bucket: Bucket, s3: Any) -> None:
    bucket.put("marked/", b"")
    bucket.put("marked/below/", b"")
    bucket.put("marked/below/f", b"x")
    with StoreTransport("store", s3, "lab", lambda: None) as transport:
        seen = {info.path: info.kind for info in transport.walk("/marked")}
        assert seen == {"below": "directory", "below/f": "file"}
        transport.remove("/marked/below/f")


def test_a_bucket_that_is_not_there_and_a_server_that_does_not_answer_are_unreachable(bucket: Bucket) -> None:
    with pytest.raises(Unreachable, match="there is no absent"):
        opened({**bucket.options(), "url": "s3://absent"})
    with pytest.raises(Unreachable, match="cannot be reached"):
        opened({"url": "http://127.0.0.1:9"})


def test_options_that_are_wrong_are_one_line_without_the_secret(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, said in (
        ({}, "url: None, expected a URL"),
        ({"url": "bucket/folder"}, "expected a URL such as"),
        ({"url": "s3://b", "bucket": 1}, "bucket: no such option of fsspec"),
        ({"url": "nosuch://b"}, "Protocol not known: nosuch"),
        ({"url": "s3://b", "timeout_s": 0}, "timeout_s: 0, expected"),
        ({"url": "s3://b", "storage_options": {"secret": {"env": "NOWHERE"}}}, "NOWHERE is not set"),
        (bucket.options(max_concurrency=0), "max_concurrency must be >= 1"),
    ):
        with pytest.raises(ConfigError, match=said) as told:
            opened(options)
        assert "\n" not in str(told.value)
        assert SECRET not in str(told.value)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"install gcsfs.*\(for S3 and HTTP: pip install 'wlmctl\[fsspec\]'\)"):
        opened({"url": "gs://bucket"})
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"the library fsspec is not installed: pip install 'wlmctl\[fsspec\]'"):
        opened(bucket.options())


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Web]:
    with web_server(tmp_path, ranges=request.param) as web:
        yield web


def test_what_a_web_server_lists_is_a_tree_of_files(web: Web) -> None:
    names = [name for name in _NAMES if "/" not in name]
    for name in names:
        (web.folder / "deep" / "er").mkdir(parents=True, exist_ok=True)
        (web.folder / "deep" / "er" / name).write_text(name)
    with opened(web.options()) as transport:
        seen = {info.path: info for info in transport.walk("/")}
        assert set(seen) == {"deep", "deep/er", *(f"deep/er/{name}" for name in names)}
        assert seen["deep/er/*"].size_bytes == 1
        assert seen["deep/er/*"].mtime_s == int((web.folder / "deep" / "er" / "*").stat().st_mtime)
        assert [get(transport, f"/deep/er/{name}").decode() for name in names] == names
        there = transport.stat("/deep/er")
        assert there is not None
        assert there.kind == "directory"
        assert transport.stat("/absent") is None
        with pytest.raises(NotFound):
            list(transport.walk("/absent"))
        with pytest.raises(Denied, match="not a file"):
            get(transport, "/deep")


def test_a_large_file_is_streamed_and_gone_on_with_from_an_offset(web: Web) -> None:
    content = content_of(3_000_000)
    (web.folder / "f").write_bytes(content)
    with opened(web.options()) as transport:
        pieces = list(transport.read("/f"))
        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= CHUNK_BYTES
        web.asked.clear()
        for offset in (1, 2_000_000, 3_000_000):
            assert get(transport, "/f", offset) == content[offset:]
        asked = [range_ for method, _, range_ in web.asked if method == "GET"]
        assert asked == ["bytes=1-", "bytes=2000000-"]
        reading: Any = transport.read("/f")
        assert content.startswith(next(reading))
        reading.close()
        assert get(transport, "/f") == content


def test_an_answer_that_ends_early_is_broken(web: Web) -> None:
    (web.folder / "f").write_bytes(content_of(500_000))
    web.cut_after_bytes = 300_000
    with opened(web.options()) as transport, pytest.raises(Broken):
        get(transport, "/f")


def test_a_connection_that_is_closed_while_a_server_is_silent_breaks_at_once(web: Web) -> None:
    (web.folder / "f").write_bytes(content_of(1_000_000))
    with opened(web.options()) as transport:
        reading = transport.read("/f")
        next(reading)
        web.is_silent.set()
        closing = threading.Timer(0.2, transport.close)
        closing.start()
        began = time.monotonic()
        with pytest.raises(Broken, match="the connection was closed"):
            transport.stat("/f")
        assert time.monotonic() - began < 15, "its time-out is 30 s"
        closing.join()
        with pytest.raises(Broken):
            list(reading)
    web.is_silent.clear()


def test_nothing_is_written_to_a_web_server(web: Web) -> None:
    (web.folder / "f").write_bytes(b"x")
    with opened(web.options()) as transport:
        transport.remove("/absent")
        transport.makedirs("/")
        for attempt in (
            lambda: put(transport, "/new", b"x"),
            lambda: transport.write_many([("/new", b"x", info_of(b"x"))]),  # type: ignore[attr-defined]
            lambda: transport.makedirs("/new"),
            lambda: transport.remove("/f"),
            lambda: transport.rename("/f", "/g"),
        ):
            with pytest.raises(Denied, match="HTTP is for reading only: nothing can be written to store"):
                attempt()


def test_a_web_server_that_wants_a_login_gets_it_by_reference(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    (web.folder / "f").write_bytes(b"secret")
    web.password = "Bearer token-of-the-web"
    with pytest.raises(LoginRefused, match="the store refuses the login"):
        opened(web.options())
    monkeypatch.setenv("WEB_LOGIN", web.password)
    with opened(web.options(storage_options={"headers": {"Authorization": {"env": "WEB_LOGIN"}}})) as transport:
        assert get(transport, "/f") == b"secret"
