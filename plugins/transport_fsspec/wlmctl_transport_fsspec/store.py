"""The transport over a store that can be written: objects of a bucket, or files of what fsspec knows else.

Modes and times are what the store says; none are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from wlmctl.errors import Broken, Denied
from wlmctl.transport import CHUNK_BYTES, FileInfo
from wlmctl_transport_fsspec.names import StoreNames

#: What is asked for, and sent, in one request; a store of parts takes at most 10,000 of them.
_BLOCK_BYTES = 8 * 1024 * 1024
_PARTS = 9_000


class StoreTransport(StoreNames):
    """Everything below ``root`` of ``filesystem``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store; whoever waits for it, in another thread, gets ``Broken`` at once."""
        self._is_closed = True
        self._break_off()
        self._fs = None  # its sessions end with the last who uses them

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``offset``, by ranges of some MiB."""
        info = self._file_at(path)
        if offset >= info.size_bytes:
            return
        if info.size_bytes - offset <= _BLOCK_BYTES:
            with self._told(path):
                content = memoryview(self._fs.cat_file(self._key(path), start=offset, end=info.size_bytes))
            for at in range(0, len(content), CHUNK_BYTES):
                yield bytes(content[at : at + CHUNK_BYTES])
            return
        with self._told(path):
            file = self._fs.open(self._key(path), "rb", block_size=_BLOCK_BYTES)
        try:
            with self._told(path):
                file.seek(offset)
            while True:
                with self._told(path):
                    chunk = file.read(CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk
        finally:
            file.close()

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        """Create or replace the file; until all of it has come nothing is at ``path``."""
        there = self.stat(path)
        if there is not None and there.kind == "directory":
            raise Denied(f"{path}: is a folder")
        if info.size_bytes <= _BLOCK_BYTES:
            self._write_whole(path, chunks, info)
        else:
            self._write_parts(path, chunks, info)

    def _write_whole(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        content = b"".join(_counted(path, chunks, info.size_bytes))
        with self._told(path):
            self._fs.pipe_file(self._key(path), content)

    def _write_parts(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        block_bytes = max(_BLOCK_BYTES, -(-info.size_bytes // _PARTS))
        with self._told(path):
            file = self._fs.open(self._key(path), "wb", block_size=block_bytes, autocommit=False)
        try:
            for chunk in _counted(path, chunks, info.size_bytes):
                with self._told(path):
                    file.write(chunk)
            with self._told(path):
                file.close()
                file.commit()
        except BaseException:
            with suppress(Exception):  # what counts is why it ends here
                file.discard()
            try:
                file.closed = True  # else its end would write what is there
            except AttributeError:  # a file of this host, or of memory: discarded, it writes nothing at its end
                file.close()
            raise

    def read_many(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order."""
        return self._abreast(lambda path: (path, b"".join(self.read(path))), paths)

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Write each (path, content, info)."""
        for _ in self._abreast(lambda file: self._write_whole(file[0], (file[1],), file[2]), files):
            pass


def _counted(path: str, chunks: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """``chunks``, which must be ``size_bytes`` long together."""
    done_bytes = 0
    for chunk in chunks:
        done_bytes += len(chunk)
        if done_bytes > size_bytes:
            raise Broken(f"{path}: more than the {size_bytes} bytes that were announced: the source grew")
        yield chunk
    if done_bytes != size_bytes:
        raise Broken(f"{path}: {done_bytes} bytes, {size_bytes} were announced: the source shrank")
