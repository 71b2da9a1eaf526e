"""The transport over exec channels only: content by the SCP protocol, all else by small POSIX commands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from wlmctl.errors import Broken, Denied, NotFound
from wlmctl.ssh import command as commands
from wlmctl.ssh import shell_files
from wlmctl.ssh.quoting import quote
from wlmctl.ssh.shell_files import checked, regular_file
from wlmctl.ssh.survey import Survey
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import Completed, FileInfo
from wlmctl_transport_scp import archive, listing, names, protocol
from wlmctl_transport_scp.stream import Stream

_ABSENT = 'for p do [ -e "$p" ] || [ -L "$p" ] || { echo "$p: No such file or directory" >&2; exit 1; }; done'


class ScpTransport:
    """One connection; each call is a channel of its own."""

    def __init__(self, ssh: SshTransport, tools: Survey) -> None:
        self._ssh, self._tools = ssh, tools

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._ssh.close()

    def alive(self) -> bool:
        """True while the connection is up, as far as this side knows; sends nothing."""
        return self._ssh.is_active()

    def home(self) -> str:
        """The login's ``$HOME``."""
        return self._tools.home

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        """What is at ``path``, or None."""
        try:
            output = checked(self._ssh, path, listing.stat_script(path, self._tools.stat, follow))
        except NotFound:
            return None
        except Denied as error:
            if any(words in str(error) for words in ("Not a directory", "Too many levels")):
                return None
            raise
        info = next(listing.parse([output]))
        return FileInfo(path, info.kind, info.size_bytes, info.mode, info.mtime_s, info.inode, info.target)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file's bytes from ``offset``."""
        if offset == 0:
            yield from protocol.read(self._ssh, path)
            return
        with Stream(self._ssh, f'{regular_file(path)}exec tail -c +{offset + 1} < "$p"', path) as stream:
            yield from stream.rest()

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> int | None:
        """Create or replace the file."""
        return protocol.write(self._ssh, path, chunks, info)

    def append(self, path: str, offset: int, chunks: Iterable[bytes]) -> None:
        """Write ``chunks`` at the file's end, which must be at ``offset``."""
        size = checked(self._ssh, path, f'{regular_file(path)}exec wc -c < "$p"')
        if int(size) != offset:
            raise Broken(f"{path}: has {int(size)} bytes, {offset} were expected")
        with Stream(self._ssh, f"exec cat >> {quote(path)}", path) as stream:
            stream.feed(chunks)

    def set_attributes(self, path: str, info: FileInfo) -> None:
        """Give the file this mode and mtime."""
        time_utc = time.strftime("%Y%m%d%H%M.%S", time.gmtime(info.mtime_s))
        mode, to = f"{info.mode & 0o7777:o}", quote(path)
        checked(self._ssh, path, f"chmod {mode} -- {to} && TZ=UTC0 exec touch -c -t {time_utc} -- {to}")

    def read_many(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The content of each path, in order."""
        return protocol.read_many(self._ssh, paths)

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        """Write each (path, content, info)."""
        if self._tools.tar:
            archive.write_many(self._ssh, self._tools.tar, files)
        else:
            protocol.write_many(self._ssh, files)

    def walk(self, path: str) -> Iterator[FileInfo]:
        """Everything below the folder ``path``."""
        return (info for info in self._listed(path, is_deep=True) if info.path != ".")

    def entries(self, path: str) -> Iterator[FileInfo]:
        """What lies directly in the folder ``path``."""
        return self._listed(path, is_deep=False)

    def _listed(self, path: str, *, is_deep: bool) -> Iterator[FileInfo]:
        with Stream(self._ssh, listing.walk_script(path, self._tools.stat, is_deep=is_deep), path) as stream:
            try:
                yield from listing.parse(stream.rest())
            except Broken:
                for _ in stream.rest():  # how the command ends says more than the hole in what it has printed
                    pass
                raise

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        """Make the folder and its missing parents."""
        names.make_folders(self._ssh, [(path, mode)])

    def makedirs_many(self, folders: Sequence[tuple[str, int]]) -> None:
        """Make each (path, mode), a folder before what is in it."""
        names.make_folders(self._ssh, folders)

    def remove(self, path: str) -> None:
        """Remove a file, a symlink or a whole folder."""
        checked(self._ssh, path, f"exec rm -rf -- {quote(path)}")

    def rename(self, source: str, destination: str) -> None:
        """Move ``source`` to ``destination``."""
        names.rename(self._ssh, source, destination)

    def stat_many(self, paths: Sequence[str]) -> Iterator[FileInfo | None]:
        """What is at each path, in order, or None."""
        return names.stat_many(self._ssh, self._tools.stat, paths)

    def rename_many(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Rename each (source, destination)."""
        names.rename_many(self._ssh, pairs)

    def readlink(self, path: str) -> str:
        """The text of the symlink."""
        script = f'set -- {quote(path)}; {_ABSENT}; [ -L "$1" ] || {{ echo "is not a symlink" >&2; exit 1; }}'
        output = checked(self._ssh, path, f'{script}\nexec readlink -- "$1"')
        return output.removesuffix(b"\n").decode("utf-8", "surrogateescape")

    def symlink(self, target: str, path: str) -> None:
        """Make (or replace) the symlink ``path``."""
        checked(self._ssh, path, f"rm -f -- {quote(path)} && exec ln -s -- {quote(target)} {quote(path)}")

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """Run ``command`` by ``sh`` and wait for its end."""
        return commands.run(self._ssh, command, stdin, timeout_s)

    @property
    def can_digest(self) -> bool:
        """True where the host has a tool for it."""
        return self._tools.digest_command is not None

    def digest(self, path: str, size_bytes: int | None = None) -> str | None:
        """The sha256 of the file, or of its beginning, by the host's own tool."""
        return shell_files.digest(self._ssh, self._tools, path, size_bytes)

    def copy(self, source: str, destination: str, size_bytes: int | None = None) -> bool:
        """Copy a file, or its beginning, on the host."""
        return shell_files.copy(self._ssh, source, destination, size_bytes)

    def free_bytes(self, path: str) -> int | None:
        """Bytes left on the file system of ``path``."""
        return shell_files.free_bytes(self._ssh, path)
