"""The names in a store: what is there, its folders, renaming and removing.

An object store has no folders of its own. One is there while something lies in it; one that was made and is still
empty is remembered by the connection. To rename is to copy on the store's side and to remove.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from wlmctl.errors import Broken, Denied, NotFound, TransportError
from wlmctl.transport import FileInfo
from wlmctl_transport_fsspec.details import info_of
from wlmctl_transport_fsspec.faults import error_for

#: Requests about small things that are under way at once.
_ABREAST = 16

_T = TypeVar("_T")
_R = TypeVar("_R")


class StoreNames:
    """What is below ``root`` of ``filesystem``, as absolute paths; ``break_off`` ends what waits for an answer."""

    def __init__(self, machine: str, filesystem: Any, root: str, break_off: Callable[[], None]) -> None:
        self._machine, self._fs, self._root, self._break_off = machine, filesystem, root, break_off
        self._is_async = bool(filesystem.async_impl)
        # True for a store that renames on its own; fsspec's own way would take names for patterns.
        self._renames = "mv" in vars(type(filesystem))
        self._is_closed = False
        self._has_folders: bool | None = None  # not known yet
        self._made: set[str] = set()

    def home(self) -> str:
        """The root."""
        return "/"

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:  # noqa: ARG002  there are no symlinks
        """What is at ``path``, or None."""
        if path == "/":
            return self._root_seen()
        try:
            with self._told(path):
                found = self._fs.info(self._key(path))
        except NotFound:
            return FileInfo(path, "directory", mode=0o755) if path in self._made else None
        return info_of(path, found)

    def stat_many(self, paths: Sequence[str]) -> Iterator[FileInfo | None]:
        """What is at each path, in order."""
        return self._abreast(self.stat, paths)

    def entries(self, path: str) -> Iterator[FileInfo]:
        """What lies directly in the folder ``path``, by name."""
        yield from self._listed(path)

    def walk(self, path: str) -> Iterator[FileInfo]:
        """Everything below the folder ``path``, a folder before its content."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            folders = []
            for info in self._listed(posixpath.join(path, below).rstrip("/") or "/", below):
                yield info
                if info.kind == "directory":
                    folders.append(info.path + "/")
            waiting += reversed(folders)

    def makedirs(self, path: str, mode: int = 0o777) -> None:  # noqa: ARG002  a store has no modes
        """Make the folder where the store has such; else remember it."""
        there = self.stat(path)
        if there is not None and there.kind != "directory":
            raise Denied(f"{path}: is there, and is not a folder")
        if there is not None:
            return
        with self._told(path):
            self._fs.makedirs(self._key(path), exist_ok=True)
        if self._has_folders is None:
            self._has_folders = self.stat(path) is not None
        while path != "/" and not self._has_folders:
            self._made.add(path)
            path = posixpath.dirname(path)

    def remove(self, path: str) -> None:
        """Remove a file or a whole folder."""
        there = self.stat(path)
        if there is None:
            return
        if there.kind != "directory":
            with self._told(path):
                self._fs.rm_file(self._key(path))
            return
        below = list(self.walk(path))
        for _ in self._abreast(self._remove_file, [f"{path}/{e.path}" for e in below if e.kind != "directory"]):
            pass
        folders = [path, *(f"{path}/{entry.path}" for entry in below if entry.kind == "directory")]
        self._made.difference_update(folders)
        if self.stat(path) is not None:  # it is a folder of its own, which does not go with its content
            for folder in sorted(folders, key=len, reverse=True):
                with self._told(folder):
                    self._fs.rmdir(self._key(folder))

    def rename(self, source: str, destination: str) -> None:
        """Move ``source`` to ``destination``: where the store cannot rename, by a copy there; not in one step then."""
        seen, there = self.stat(source), self.stat(destination)
        if seen is None:
            raise NotFound(f"{source} -> {destination}: no such file or folder")
        if there is not None and there.kind == "directory" and (seen.kind == "file" or destination not in self._made):
            raise Denied(f"{destination}: is a folder")
        if self._renames:
            with self._told(destination):
                self._fs.mv(self._key(source), self._key(destination))
        elif seen.kind == "directory":
            self._move_folder(source, destination)
        else:
            self._move_file((source, destination))

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename each (source, destination), which are files."""
        for _ in self._abreast(self._move_file, pairs):
            pass

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Copy a whole file on the store's side; a beginning cannot be copied."""
        if size_bytes is not None or self._renames:
            return False
        self._file_at(source)
        self._copy_file((source, destination))
        return True

    def _root_seen(self) -> FileInfo:
        """The root is there, also where it is empty or may not be looked at; but the store must answer."""
        with suppress(NotFound, Denied), self._told("/"):
            self._fs.info(self._key("/"))
        return FileInfo("/", "directory", mode=0o755)

    def _move_folder(self, source: str, destination: str) -> None:
        below = list(self.walk(source))
        pairs = [(f"{source}/{e.path}", f"{destination}/{e.path}") for e in below if e.kind != "directory"]
        try:
            for _ in self._abreast(self._copy_file, pairs):
                pass
        except TransportError:
            for _, copied in pairs:
                with suppress(TransportError):
                    self._remove_file(copied)
            raise
        moved = {source: destination}
        moved |= {f"{source}/{e.path}": f"{destination}/{e.path}" for e in below if e.kind == "directory"}
        self._made |= {moved[folder] for folder in self._made if folder in moved}
        self.remove(source)

    def _move_file(self, pair: tuple[str, str]) -> None:
        if self._renames:
            self.rename(*pair)
        else:
            self._copy_file(pair)
            self._remove_file(pair[0])

    def _copy_file(self, pair: tuple[str, str]) -> None:
        source, destination = pair
        with self._told(destination):
            self._fs.cp_file(self._key(source), self._key(destination))

    def _remove_file(self, path: str) -> None:
        with suppress(NotFound), self._told(path):
            self._fs.rm_file(self._key(path))

    def _file_at(self, path: str) -> FileInfo:
        info = self.stat(path)
        if info is None:
            raise NotFound(f"{path}: no such file")
        if info.kind != "file":
            raise Denied(f"{path}: is not a file")
        return info

    def _listed(self, path: str, prefix: str = "") -> list[FileInfo]:
        """The entries of the folder ``path``, named ``prefix`` and their name, by name."""
        try:
            with self._told(path):
                rows = self._fs.ls(self._key(path), detail=True)
        except NotFound:
            if path not in self._made and path != "/":
                raise
            rows = []
        found = {folder: FileInfo(folder, "directory", mode=0o755) for folder in self._made_in(path)}
        here = self._key(path).strip("/")
        for row in rows:
            name = str(row["name"]).strip("/")
            if name == here:
                if row["type"] != "directory" and not str(row["name"]).endswith("/"):
                    raise Denied(f"{path}: is not a folder")
                continue  # an empty object that stands for the folder itself
            name = posixpath.basename(name)
            found[name] = info_of(name, row)
        return [replace(found[name], path=prefix + name) for name in sorted(found)]

    def _made_in(self, path: str) -> list[str]:
        return [posixpath.basename(folder) for folder in self._made if posixpath.dirname(folder) == path]

    def _key(self, path: str) -> str:
        key = self._root + path if path != "/" else self._root
        try:
            key.encode()
        except UnicodeEncodeError:
            raise Denied(f"{path}: the store takes only names that are UTF-8") from None
        return key

    def _abreast(self, function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """``function`` of each item, in order; several at once where the backend can."""
        if not self._is_async:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(_ABREAST) as pool:
            yield from pool.map(function, items)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except TransportError:
            raise
        except Exception as error:
            if not self._is_closed:
                raise error_for(self._machine, path, error) from error
        if self._is_closed:  # what was broken off has no answer, or an error of its own
            raise Broken(f"machine {self._machine}: the connection was closed")
