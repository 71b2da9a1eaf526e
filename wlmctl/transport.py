"""The contract of a transport: one open connection to one machine, which moves bytes.

A transport plugin offers ``factory(machine, options) -> Transport``. The core finds the optional
protocols by ``isinstance``; a machine has a shell exactly when its transport has ``run``. Paths are
absolute POSIX ``str`` (bytes that are not UTF-8 as ``surrogateescape``). The only errors raised are
``NotFound``, ``Denied``, ``NoSpace``, ``Unreachable`` and ``Broken`` of ``wlmctl.errors``.
Temporary names, verification and the final rename belong to the core (``wlmctl.transfer``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from wlmctl.machine import Machine

Kind = Literal["file", "directory", "symlink", "other"]

#: Bytes in one chunk that ``read`` yields, at most: large enough to be fast, small enough to bound memory.
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is at a path. ``path`` is absolute in ``stat``, relative to the walked folder in ``walk``."""

    path: str
    kind: Kind
    size_bytes: int = 0
    mode: int = 0o644
    mtime_s: float = 0.0
    inode: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command on a machine ended. ``exit_code`` is 128 + signal where a signal ended it."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@runtime_checkable
class Transport(Protocol):
    """One open connection to one machine, used by one thread at a time; a context manager that closes it."""

    def home(self) -> str:
        """The login folder, absolute; needs no shell."""
        ...

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        """What is at ``path`` (a symlink itself unless ``follow``), or None when nothing is there."""
        ...

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``offset``, pulled by the caller, at most ``CHUNK_BYTES`` each, never spooled."""
        ...

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> int | None:
        """Create or replace the file with exactly ``info.size_bytes`` bytes, with its mode and mtime.

        Returns the size that the far side tells of what it has written, where that costs no question of its own.
        Raises ``Broken`` when the chunks are fewer or more; what was written until then may remain at ``path``.
        """
        ...

    def walk(self, path: str) -> Iterator[FileInfo]:
        """Everything below the folder ``path``, a folder before its content, symlinks not followed."""
        ...

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Make the folder and its missing parents; ``mode`` (less the umask) is for those it makes."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file, a symlink or a whole folder; nothing there is no error."""
        ...

    def rename(self, source: str, destination: str) -> None:
        """Move ``source`` to ``destination``, replacing a file that is there (atomically where the far side can)."""
        ...

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Lists(Protocol):
    """A transport that can list one folder without what is below it."""

    def entries(self, path: str) -> Iterator[FileInfo]:
        """What lies directly in the folder ``path``, each with its bare name as path, symlinks not followed."""
        ...


@runtime_checkable
class Runs(Protocol):
    """A transport to a machine with a shell."""

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``command`` by ``sh`` and wait for its end; ``Broken`` after ``timeout_s`` or a lost connection."""
        ...


@runtime_checkable
class Spawns(Protocol):
    """A transport to this very host, which starts detached processes without a shell between."""

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], folder: str, stdout: str, stderr: str) -> int:
        """Start a process in a session of its own and return its pid; signals are at their defaults.

        ``env`` is its whole environment; an empty ``folder`` is the caller's own. stdin is ``/dev/null``;
        ``stdout`` and ``stderr`` are files that are created or truncated.
        """
        ...


@runtime_checkable
class Appends(Protocol):
    """A transport that can continue a file."""

    def append(self, path: str, offset: int, chunks: Iterable[bytes]) -> None:
        """Write ``chunks`` at ``offset``, which must be the file's size."""
        ...


@runtime_checkable
class Attributes(Protocol):
    """A transport that can change mode and mtime of a file without writing it."""

    def set_attributes(self, path: str, info: FileInfo) -> None:
        """Give the file the mode and mtime of ``info``."""
        ...


@runtime_checkable
class Digests(Protocol):
    """A transport whose far side can hash a file itself, also while another thread uses the transport."""

    @property
    def can_digest(self) -> bool:
        """True when there is a tool for it there, as far as was seen at the login: asks nobody."""
        ...

    def digest(self, path: str, size_bytes: int | None = None) -> str | None:
        """The sha256 of the file, or of its first ``size_bytes`` bytes, as 64 hex digits; None: no tool for it there.

        A file that is shorter than ``size_bytes`` is hashed whole: the caller knows its size.
        """
        ...


@runtime_checkable
class Copies(Protocol):
    """A transport whose far side can copy a file itself, without moving its bytes over the line."""

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Make ``destination`` a file with the content of ``source``, or with its first ``size_bytes`` bytes.

        By sharing blocks where the file system can (a reflink). A file that is there is replaced; mode and mtime are
        not kept. False, with nothing made, where this far side cannot copy; the transport's errors otherwise.
        """
        ...


@runtime_checkable
class Links(Protocol):
    """A transport that knows symlinks."""

    def readlink(self, path: str) -> str:
        """The text of the symlink."""
        ...

    def symlink(self, target: str, path: str) -> None:
        """Make (or replace) the symlink ``path`` with the text ``target``."""
        ...


@runtime_checkable
class Space(Protocol):
    """A transport that knows how much room is left."""

    def free_bytes(self, path: str) -> int | None:
        """Bytes this login may still write on the file system of ``path``, or None when it cannot be told."""
        ...


@runtime_checkable
class Bulk(Protocol):
    """A transport that keeps many small files in flight at once."""

    def read_many(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order; files of at most ``CHUNK_BYTES`` each."""
        ...

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Write each (path, content, info); returns when all are written."""
        ...


@runtime_checkable
class BulkNames(Protocol):
    """A transport that keeps many small requests about names in flight at once."""

    def stat_many(self, paths: Sequence[str]) -> Iterator[FileInfo | None]:
        """What is at each path, in order, symlinks not followed; None where there is nothing."""
        ...

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename each (source, destination) as ``rename`` does; returns when all are renamed.

        An error names its destination; by then any of the others may be renamed.
        """
        ...


@runtime_checkable
class BulkFolders(Protocol):
    """A transport that makes many folders at once."""

    def makedirs_many(self, folders: Sequence[tuple[str, int]]) -> None:
        """Make each (path, mode) as ``makedirs`` does, a folder before what is in it; returns when all are made.

        An error names its folder; by then any of the others may be made.
        """
        ...


class TransportFactory(Protocol):
    """What ``wlmctl_transports()`` maps a name to."""

    def __call__(self, machine: Machine, options: Mapping[str, Any]) -> Transport:
        """One open connection to ``machine``; ``options`` are its ``transport_options``."""
        ...
