"""The transport over SFTP: one for logins without a shell, one for those with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.sftp import bulk, far_copy, many, pumps, tree
from wlmctl.sftp.faults import check, space
from wlmctl.sftp.listing import list_folders, walk
from wlmctl.sftp.many import POSIX_RENAME
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import (
    OPEN_CREATE,
    OPEN_TRUNCATE,
    OPEN_WRITE,
    Packet,
    Reader,
    attributes,
    decode,
    encode,
    string,
    u32,
)
from wlmctl.ssh import shell_files
from wlmctl.ssh.shell import Shell
from wlmctl.ssh.survey import Survey
from wlmctl.transport import Completed, FileInfo


class SftpTransport:
    """Files over one SFTP session; the login has no shell, so there is no ``run``."""

    def __init__(self, ssh: Shell, session: Session) -> None:
        self._ssh, self._session = ssh, session
        self._home: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session and the connection."""
        self._session.close()
        self._ssh.close()

    def alive(self) -> bool:
        """True while the connection is up, as far as this side knows; sends nothing."""
        return self._ssh.is_active() and self._session.is_alive

    def home(self) -> str:
        """The folder in which the session starts."""
        if self._home is None:
            answer = self._session.take(self._session.home_asked)
            fields = Reader(check(self._session, answer, ".", Packet.NAME).body)
            fields.u32()
            self._home = decode(fields.string())
        return self._home

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        """What is at ``path``, or None."""
        return tree.look(self._session, path, follow)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``offset``; about 4 MiB are asked for ahead of the caller."""
        info = self.stat(path, follow=True)  # to open a FIFO would hang the whole session
        if info is None:
            raise NotFound(f"{path}: no such file")
        if info.kind != "file":
            raise Denied(f"{path}: is not a regular file")
        yield from pumps.read(self._session, path, offset, info.size_bytes)

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> int | None:
        """Create or replace the file; it is on the disk when this returns, where the host can say so."""
        flags = OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE
        handle = pumps.open_file(self._session, path, flags, attributes(info.mode | 0o200))
        return pumps.write(self._session, path, handle, 0, chunks, info)

    def append(self, path: str, offset: int, chunks: Iterable[bytes]) -> None:
        """Write ``chunks`` at the file's end, which must be at ``offset``."""
        info = self.stat(path, follow=True)
        if info is None:
            raise NotFound(f"{path}: no such file")
        if info.size_bytes != offset:
            raise Broken(f"{path}: has {info.size_bytes} bytes, {offset} were expected")
        handle = pumps.open_file(self._session, path, OPEN_WRITE, u32(0))
        pumps.write(self._session, path, handle, offset, chunks)

    def set_attributes(self, path: str, info: FileInfo) -> None:
        """Give the file this mode and mtime."""
        answer = self._session.ask(Packet.SETSTAT, string(encode(path)), attributes(info.mode, info.mtime_s))
        check(self._session, answer, path)

    def read_many(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order."""
        return bulk.read_many(self._session, paths)

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Write each (path, content, info)."""
        bulk.write_many(self._session, files)

    def walk(self, path: str) -> Iterator[FileInfo]:
        """Everything below the folder ``path``."""
        return walk(self._session, path)

    def entries(self, path: str) -> Iterator[FileInfo]:
        """What lies directly in the folder ``path``."""
        for entries in list_folders(self._session, path, [""]):
            yield from entries

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Make the folder and its missing parents."""
        tree.make_folders(self._session, path, mode)

    def makedirs_many(self, folders: Sequence[tuple[str, int]]) -> None:
        """Make each (path, mode), a folder before what is in it."""
        tree.make_many_folders(self._session, folders)

    def remove(self, path: str) -> None:
        """Remove a file, a symlink or a whole folder."""
        tree.remove(self._session, path)

    def rename(self, source: str, destination: str) -> None:
        """Move ``source`` to ``destination``; atomic where the host offers posix-rename."""
        names = string(encode(source)), string(encode(destination))
        if self._session.offers(POSIX_RENAME, b"1"):
            answer = self._session.ask(Packet.EXTENDED, string(POSIX_RENAME), *names)
        else:
            there = self.stat(destination)
            if there is not None and there.kind != "directory":
                check(self._session, self._session.ask(Packet.REMOVE, names[1]), destination)
            answer = self._session.ask(Packet.RENAME, *names)
        check(self._session, answer, f"{source} -> {destination}")

    def stat_many(self, paths: Sequence[str]) -> Iterator[FileInfo | None]:
        """What is at each path, in order."""
        return many.stat_many(self._session, paths)

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename each (source, destination) as ``rename`` does."""
        if self._session.offers(POSIX_RENAME, b"1"):
            many.rename_many(self._session, pairs)
        else:
            for source, destination in pairs:
                self.rename(source, destination)

    def readlink(self, path: str) -> str:
        """The text of the symlink."""
        return many.link_text(self._session, path, self._session.ask(Packet.READLINK, string(encode(path))))

    def symlink(self, target: str, path: str) -> None:
        """Make (or replace) the symlink ``path``."""
        there = self.stat(path)
        if there is not None and there.kind != "directory":
            check(self._session, self._session.ask(Packet.REMOVE, string(encode(path))), path)
        # OpenSSH has the two the other way round than the draft, and everyone follows it.
        answer = self._session.ask(Packet.SYMLINK, string(encode(target)), string(encode(path)))
        check(self._session, answer, path)

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Copy a file, or its beginning, on the host."""
        return far_copy.copy(self._session, source, destination, size_bytes)

    def free_bytes(self, path: str) -> int | None:
        """Bytes left on the file system of ``path``."""
        room = space(self._session, path)
        return None if room is None else room[0]


class SftpShellTransport(SftpTransport):
    """Files over SFTP, commands over channels beside it.

    ``tools`` may wait for the end of a survey, which is waited for only by who needs it.
    """

    def __init__(self, ssh: Shell, session: Session, tools: Callable[[], Survey]) -> None:
        super().__init__(ssh, session)
        self._tools = tools

    @property
    def _shell(self) -> Shell:
        """For commands: some hosts allow no other while they are surveyed."""
        self._tools()
        return self._ssh

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``command`` by ``sh`` and wait for its end."""
        return self._shell.run_script(command, stdin, timeout_s)

    @property
    def can_digest(self) -> bool:
        """True where the host has a tool for it."""
        return self._tools().digest_command is not None

    def digest(self, path: str, size_bytes: int | None = None) -> str | None:
        """The sha256 of the file, or of its beginning, by the host's own tool."""
        return shell_files.digest(self._ssh, self._tools(), path, size_bytes)

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Copy a file, or its beginning, on the host."""
        return shell_files.copy(self._shell, source, destination, size_bytes)

    def free_bytes(self, path: str) -> int | None:
        """Bytes left on the file system of ``path``."""
        room = super().free_bytes(path)
        return shell_files.free_bytes(self._shell, path) if room is None else room
