"""The two directions of one running command, read by line or by count, and what its end says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import paramiko

from wlmctl.errors import Broken
from wlmctl.ssh.command import close_channel, end_input, start
from wlmctl.ssh.flow import receive, send_all
from wlmctl.ssh.shell_files import fault
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import CHUNK_BYTES, Completed

_LONGEST_LINE_BYTES = 64 * 1024
#: What a start-up file of the login may print before the command begins.
_LONGEST_NOISE_BYTES = 1 << 20


class Stream:
    """A command about ``path`` that is talked with; a context manager that ends it.

    ``first`` is what it is told without a wait for its beginning.
    """

    def __init__(self, ssh: SshTransport, script: str, path: str, first: bytes = b"") -> None:
        self._ssh, self._path, self._machine, self._timeout_s = ssh, path, ssh.login.machine, ssh.timeout_s
        self._buffer, self._at = b"", 0  # what has arrived, and how far it is read
        self._channel, self._mark = start(ssh, f"LC_ALL=C; export LC_ALL\n{script}")
        try:
            if first:
                self.send(first)
            self._until(self._mark, _LONGEST_NOISE_BYTES)
        except BaseException:
            close_channel(self._channel)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the command, whatever it does."""
        close_channel(self._channel)

    def send(self, *parts: bytes) -> None:
        """Give ``parts`` to the command."""
        try:
            send_all(self._channel, *parts)
        except TimeoutError as error:
            raise Broken(f"machine {self._machine}: the host takes nothing for {self._timeout_s:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._ended() from error

    def some(self, most: int) -> bytes:
        """At least one byte of the command's output, at most ``most``."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._receive(most, most), 0
            if not self._buffer:
                raise self._ended()
        data = self._buffer[self._at : self._at + most]
        self._at += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        pieces = []
        while count:
            piece = self.some(count)
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def line(self) -> bytes:
        """The next line, without its end."""
        return self._until(b"\n", _LONGEST_LINE_BYTES)

    def rest(self) -> Iterator[bytes]:
        """All that is still to come; raises what a failure of the command means."""
        yield from self._pieces()
        self._judge(self._completed())

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Give it all of ``chunks`` and wait for its end."""
        for chunk in chunks:
            self.send(chunk)
        self.end()

    def end(self) -> None:
        """Say that nothing more comes, and wait for the command to end well."""
        self._judge(self.finish())

    def finish(self) -> Completed:
        """Say that nothing more comes, and wait for the command to end, however it does; its output is dropped."""
        self.send_end()
        for _ in self._pieces():
            pass
        return self._completed()

    def send_end(self) -> None:
        """Say that nothing more comes; a second call does nothing."""
        try:
            end_input(self._ssh, self._channel)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._ended() from error

    def _judge(self, done: Completed) -> None:
        if done.exit_code != 0:
            raise fault(self._path, done)

    def _completed(self) -> Completed:
        if not self._channel.status_event.wait(self._timeout_s) or self._channel.exit_status < 0:
            raise Broken(f"machine {self._machine}: the connection was lost ({self._path})")
        stderr = b""
        while self._channel.recv_stderr_ready():
            stderr += self._channel.recv_stderr(_LONGEST_NOISE_BYTES)
        return Completed(self._channel.exit_status, b"", stderr.rpartition(self._mark)[2])

    def _ended(self) -> Exception:
        """Why the command is gone before its time."""
        try:
            done = self._completed()
        except Broken as error:
            return error
        if done.exit_code == 0 or done.exit_code > 128:
            return Broken(f"{self._path}: the far side ended too early (exit code {done.exit_code})")
        return fault(self._path, done)

    def _pieces(self) -> Iterator[bytes]:
        if self._at < len(self._buffer):
            data, self._at = self._buffer[self._at :], len(self._buffer)
            yield data
        while data := self._receive(CHUNK_BYTES, CHUNK_BYTES):
            yield data

    def _until(self, mark: bytes, longest_bytes: int) -> bytes:
        """What comes before the next ``mark``, which is taken, too."""
        while (end := self._buffer.find(mark, self._at)) < 0:
            piece = self._receive(longest_bytes, 1)
            if not piece or len(self._buffer) - self._at > longest_bytes:
                raise self._ended()
            self._buffer, self._at = self._buffer[self._at :] + piece, 0
        data = self._buffer[self._at : end]
        self._at = end + len(mark)
        return data

    def _receive(self, most: int, wanted: int) -> bytes:
        """At most ``most`` bytes, at least ``wanted`` where they come quickly; nothing at the end."""
        try:
            return receive(self._channel, most, wanted)
        except TimeoutError as error:
            raise Broken(f"machine {self._machine}: silent for {self._timeout_s:g} s ({self._path})") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Broken(f"machine {self._machine}: the connection was lost ({self._path})") from error
