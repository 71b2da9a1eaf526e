"""Files and folders of this host, as the transport contract wants them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat as modes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from wlmctl.errors import Broken, Denied
from wlmctl.text import shown
from wlmctl.transport import CHUNK_BYTES, FileInfo, Kind
from wlmctl_transport_local.blocks import beginning, shares_blocks
from wlmctl_transport_local.contents import fill, flush, open_file, write_or_skip
from wlmctl_transport_local.faults import told

#: How many files are kept open between writing them and flushing them together.
_FLUSH_TOGETHER = 64


class LocalFiles:
    """This host without a shell: everything of the transport contract but ``run`` and ``spawn``."""

    def home(self) -> str:
        """The user's home folder."""
        return os.path.expanduser("~")

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        """What is at ``path``, or None."""
        with told(path):
            try:
                return _info(path, path, os.stat(path, follow_symlinks=follow))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``offset``."""
        with told(path):
            descriptor = open_file(path, os.O_RDONLY)
            try:
                os.lseek(descriptor, offset, os.SEEK_SET)
                while chunk := os.read(descriptor, CHUNK_BYTES):
                    yield chunk
            finally:
                os.close(descriptor)

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        """Create or replace the file with exactly ``info.size_bytes`` bytes, flushed to the disk."""
        with told(path):
            descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                fill(descriptor, path, chunks, info)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def append(self, path: str, offset: int, chunks: Iterable[bytes]) -> None:
        """Write ``chunks`` at ``offset``, which must be the file's size; at 0 the file may be missing."""
        with told(path):
            descriptor = open_file(path, os.O_WRONLY | (0 if offset else os.O_CREAT))
            try:
                size_bytes = os.fstat(descriptor).st_size
                if size_bytes != offset:
                    raise Broken(f"{shown(path)}: has {size_bytes} bytes, cannot go on at {offset}")
                os.lseek(descriptor, offset, os.SEEK_SET)
                for chunk in chunks:
                    offset += write_or_skip(descriptor, chunk)
                os.ftruncate(descriptor, offset)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def set_attributes(self, path: str, info: FileInfo) -> None:
        """Give the file this mode and mtime."""
        with told(path):
            os.chmod(path, info.mode & 0o7777)
            mtime_ns = round(info.mtime_s * 1e9)
            os.utime(path, ns=(mtime_ns, mtime_ns))

    def read_many(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order."""
        for path in paths:
            yield path, b"".join(self.read(path))

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Write each file; flushed together, which costs the disk far less than one by one."""
        pending: list[int] = []
        try:
            for path, content, info in files:
                with told(path):
                    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                    pending.append(descriptor)
                    fill(descriptor, path, (content,), info)
                if len(pending) >= _FLUSH_TOGETHER:
                    flush(pending)
            flush(pending)
        finally:
            for descriptor in pending:
                os.close(descriptor)

    def stat_many(self, paths: Sequence[str]) -> Iterator[FileInfo | None]:
        """What is at each path, in order."""
        return map(self.stat, paths)

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename each pair, in order."""
        for source, destination in pairs:
            self.rename(source, destination)

    def walk(self, path: str) -> Iterator[FileInfo]:
        """Everything below the folder ``path``, sorted by name, a folder before its content."""
        pending = [iter(self._listed(path, ""))]
        while pending:
            info = next(pending[-1], None)
            if info is None:
                pending.pop()
                continue
            yield info
            if info.kind == "directory":
                pending.append(iter(self._listed(f"{path}/{info.path}", f"{info.path}/")))

    def entries(self, path: str) -> Iterator[FileInfo]:
        """What lies directly in the folder ``path``, sorted by name."""
        yield from self._listed(path, "")

    def _listed(self, path: str, prefix: str) -> list[FileInfo]:
        found = []
        with told(path), os.scandir(path) as listing:
            for entry in sorted(listing, key=lambda entry: entry.name):
                with suppress(FileNotFoundError):  # gone since it was listed
                    found.append(_info(prefix + entry.name, entry.path, entry.stat(follow_symlinks=False)))
        return found

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Make the folder and its missing parents."""
        with told(path):
            missing = []
            while not os.path.isdir(path):
                missing.append(path)
                path = os.path.dirname(path)
            for folder in reversed(missing):
                try:
                    os.mkdir(folder, mode)
                except FileExistsError:
                    if not os.path.isdir(folder):
                        raise Denied(f"{shown(folder)}: is a file, a folder is needed here") from None

    def makedirs_many(self, folders: Sequence[tuple[str, int]]) -> None:
        """Make each folder, in order."""
        for path, mode in folders:
            self.makedirs(path, mode)

    def remove(self, path: str) -> None:
        """Remove a file, a symlink or a whole folder."""
        with told(path), suppress(FileNotFoundError, NotADirectoryError):
            if modes.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def rename(self, source: str, destination: str) -> None:
        """Move, atomically replacing a file that is there."""
        with told(f"{source} -> {destination}"):
            os.replace(source, destination)

    @property
    def can_digest(self) -> bool:
        """True: Python hashes."""
        return True

    def digest(self, path: str, size_bytes: int | None = None) -> str | None:
        """The sha256 of the file, or of its beginning."""
        digest = hashlib.sha256()
        for chunk in beginning(self.read(path), size_bytes):
            digest.update(chunk)
        return digest.hexdigest()

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Copy a file, or its beginning; blocks are shared where the file system can."""
        with told(f"{source} -> {destination}"), ExitStack() as opened:
            descriptor = open_file(source, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            with suppress(FileNotFoundError):
                os.unlink(destination)
            copy = open_file(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            opened.callback(os.close, copy)
            if size_bytes is None and shares_blocks(descriptor, copy):
                return True
            copied_bytes = 0
            for chunk in beginning(iter(lambda: os.read(descriptor, CHUNK_BYTES), b""), size_bytes):
                copied_bytes += write_or_skip(copy, chunk)
            os.ftruncate(copy, copied_bytes)
        return True

    def readlink(self, path: str) -> str:
        """The text of the symlink."""
        with told(path):
            return os.readlink(path)

    def symlink(self, target: str, path: str) -> None:
        """Make the symlink, or replace the one that is there in one step."""
        with told(path):
            try:
                os.symlink(target, path)
            except FileExistsError:
                if not os.path.islink(path):
                    raise
                beside = f"{os.path.dirname(path)}/.wlm-link-{os.getpid()}-{id(path):x}"
                os.symlink(target, beside)
                os.replace(beside, path)

    def free_bytes(self, path: str) -> int | None:
        """Bytes this user may still write on the file system of ``path``, or of its nearest parent that is there."""
        while path != "/" and not os.path.exists(path):
            path = os.path.dirname(path) or "/"
        with told(path):
            room = os.statvfs(path)
            return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Nothing is open between two calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _info(name: str, path: str, status: os.stat_result) -> FileInfo:
    kind: Kind = "other"
    target = None
    if modes.S_ISREG(status.st_mode):
        kind = "file"
    elif modes.S_ISDIR(status.st_mode):
        kind = "directory"
    elif modes.S_ISLNK(status.st_mode):
        kind, target = "symlink", os.readlink(path)
    return FileInfo(
        path=name,
        kind=kind,
        size_bytes=status.st_size if kind == "file" else 0,
        mode=modes.S_IMODE(status.st_mode),
        mtime_s=status.st_mtime,
        inode=f"{status.st_dev}:{status.st_ino}",
        target=target,
    )
