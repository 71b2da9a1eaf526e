"""The transport over HTTP(S): files are read, whole or from an offset; folders are what index pages list."""

from __future__ import annotations

import html
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn
from urllib.parse import quote, unquote

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.transport import CHUNK_BYTES, FileInfo
from wlmctl_transport_fsspec.details import info_of
from wlmctl_transport_fsspec.store import StoreTransport

_NAME = "utf-8", "surrogateescape"


class WebTransport(StoreTransport):
    """What lies below a URL, to be read."""

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:  # noqa: ARG002  there are no symlinks
        """What is at ``path``; what leads to an address with a final slash is a folder."""
        if path == "/":
            return self._root_seen()
        try:
            with self._told(path):
                row = self._fs.info(self._key(path))
        except NotFound:
            return None
        if str(row.get("url", "")).endswith("/"):
            return FileInfo(path, "directory", mode=0o755)
        if row["size"] is None:
            raise Denied(f"{path}: the server does not say how large it is")
        return info_of(path, row)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes in one answer; of a server without ranges what is before ``offset`` is thrown away."""
        info = self._file_at(path)
        if offset >= info.size_bytes:
            return
        with self._told(path):
            headers = dict(self._fs.kwargs["headers"])
            if offset:
                headers["Range"] = f"bytes={offset}-"
            # Block size 0: a stream. The size is given so that it is not asked for again.
            answer = self._fs.open(self._key(path), "rb", block_size=0, size=info.size_bytes, headers=headers)
        try:
            skip_bytes = offset if answer.r.status != 206 else 0
            left_bytes = info.size_bytes - offset
            while left_bytes:
                with self._told(path):
                    chunk = answer.read(CHUNK_BYTES)
                if not chunk:
                    raise Broken(f"{path}: the server ended it {left_bytes:,} bytes early")
                skipped, skip_bytes = min(skip_bytes, len(chunk)), max(0, skip_bytes - len(chunk))
                if len(chunk) > skipped:
                    left_bytes -= len(chunk) - skipped
                    yield chunk[skipped:]
        finally:
            answer.close()

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:  # noqa: ARG002
        """Refused: HTTP is for reading."""
        self._refuse(path)

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Refused."""
        for path, _, _ in files:
            self._refuse(path)

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Refused."""
        for _, destination in pairs:
            self._refuse(destination)

    def makedirs(self, path: str, mode: int = 0o777) -> None:  # noqa: ARG002
        """Refused, unless the folder is there."""
        there = self.stat(path)
        if there is None or there.kind != "directory":
            self._refuse(path)

    def remove(self, path: str) -> None:
        """Refused, unless nothing is there."""
        if self.stat(path) is not None:
            self._refuse(path)

    def rename(self, source: str, destination: str) -> None:  # noqa: ARG002
        """Refused."""
        self._refuse(destination)

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:  # noqa: ARG002
        """HTTP copies nothing."""
        return False

    def _refuse(self, path: str) -> NoReturn:
        raise Denied(f"{path}: HTTP is for reading only: nothing can be written to {self._machine}")

    def _listed(self, path: str, prefix: str = "") -> list[FileInfo]:
        """The links of the index page that lead to what is directly below; each file is asked for its size."""
        base = self._key(path).rstrip("/") + "/"
        with self._told(path):
            links = self._fs.ls(base, detail=False)
        names = {name for link in links if (name := _name_below(base, html.unescape(str(link)))) is not None}
        folders = {name.rstrip("/") for name in names if name.endswith("/")}
        files = sorted(name for name in names if name.rstrip("/") not in folders)
        seen = self._abreast(self.stat, [posixpath.join(path, name) for name in files])
        found = [FileInfo(prefix + name, "directory", mode=0o755) for name in folders]
        found += [replace(info, path=prefix + name) for name, info in zip(files, seen, strict=True) if info is not None]
        return sorted(found, key=lambda info: info.path)

    def _key(self, path: str) -> str:
        return self._root + quote(path.encode(*_NAME)) if path != "/" else self._root + "/"


def _name_below(base: str, link: str) -> str | None:
    """The name that a link of an index page stands for; None for one that leads elsewhere or sorts the page."""
    if not link.startswith(base) or "?" in link or "#" in link:
        return None
    name = unquote(link[len(base) :], *_NAME)
    plain = name.removesuffix("/")
    return None if plain in ("", ".", "..") or "/" in plain else name
