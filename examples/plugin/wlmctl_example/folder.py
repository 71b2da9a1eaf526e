"""The transport ``folder``: a folder of this host that plays a machine without a shell (a mounted share, say)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, Self

from wlmctl.errors import Broken, Denied, NoSpace, NotFound, TransportError, Unreachable
from wlmctl.machine import Machine
from wlmctl.transport import CHUNK_BYTES, FileInfo


class FolderTransport:
    """``transport_options = {root = "/mnt/share"}``: all paths of the machine lie below that folder."""

    def __init__(self, machine: Machine, options: Mapping[str, Any]) -> None:
        self.root = Path(options.get("root", ""))
        if not self.root.is_absolute() or not self.root.is_dir():
            raise Unreachable(f"machine {machine.name}: transport_options.root: {str(self.root)!r} is no folder here")

    def home(self) -> str:
        return "/"

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        with errors(path):
            try:
                found = os.stat(self._real(path), follow_symlinks=follow)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return info(path, self._real(path), found)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        with errors(path), open(self._real(path), "rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        with errors(path), open(self._real(path), "wb") as file:
            written = sum(map(file.write, chunks))
        if written != info.size_bytes:
            raise Broken(f"{path}: {written} bytes came, {info.size_bytes} were announced")
        with errors(path):
            os.chmod(self._real(path), info.mode)
            os.utime(self._real(path), (info.mtime_s, info.mtime_s))

    def walk(self, path: str) -> Iterator[FileInfo]:
        with errors(path):
            for entry in sorted(os.scandir(self._real(path)), key=lambda entry: entry.name):
                yield info(entry.name, Path(entry.path), entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    for below in self.walk(f"{path}/{entry.name}"):
                        yield FileInfo(
                            **{name: getattr(below, name) for name in FileInfo.__slots__}
                            | {"path": f"{entry.name}/{below.path}"}
                        )

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        with errors(path):
            self._real(path).mkdir(mode, parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        real = self._real(path)
        with errors(path):
            shutil.rmtree(real) if real.is_dir() and not real.is_symlink() else real.unlink(missing_ok=True)

    def rename(self, source: str, destination: str) -> None:
        with errors(source):
            os.replace(self._real(source), self._real(destination))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _real(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def info(path: str, real: Path, found: os.stat_result) -> FileInfo:
    """What ``os.stat`` found, in the words of the contract."""
    mode = found.st_mode
    kind = "file" if S_ISREG(mode) else "directory" if S_ISDIR(mode) else "symlink" if S_ISLNK(mode) else "other"
    target = os.readlink(real) if kind == "symlink" else None
    return FileInfo(path, kind, found.st_size, mode & 0o7777, found.st_mtime, str(found.st_ino), target)  # type: ignore[arg-type]


@contextmanager
def errors(path: str) -> Iterator[None]:
    """Only the five errors of the contract come out of a transport."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{path}: there is no such file or folder") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise Denied(f"{path}: {error.strerror}") from error
    except OSError as error:
        kind: type[TransportError] = NoSpace if error.errno in (28, 122) else Broken
        raise kind(f"{path}: {error.strerror}") from error
