"""The two directions of one running command, read by line or by count, and what its end says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import paramiko

from wlmctl.errors import Broken
from wlmctl.ssh.command import close_channel, start
from wlmctl.ssh.shell_files import fault
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import CHUNK_BYTES, Completed

_PIECE_BYTES = 32 * 1024
_LONGEST_LINE_BYTES = 64 * 1024
#: What a start-up file of the login may print before the command begins.
_LONGEST_NOISE_BYTES = 1 << 20


class Stream:
    """A command about ``path`` that is talked with; a context manager that ends it."""

    def __init__(self, ssh: SshTransport, script: str, path: str) -> None:
        self._path, self._machine, self._timeout_s = path, ssh.login.machine, ssh.timeout_s
        self._buffer = b""
        self._channel, self._mark = start(ssh, f"LC_ALL=C; export LC_ALL\n{script}")
        try:
            self._skip_noise()
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

    def send(self, data: bytes) -> None:
        """Give ``data`` to the command."""
        try:
            for start_at in range(0, len(data), _PIECE_BYTES):
                self._channel.sendall(data[start_at : start_at + _PIECE_BYTES])
        except TimeoutError as error:
            raise Broken(f"machine {self._machine}: the host takes nothing for {self._timeout_s:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._ended() from error

    def some(self, most: int) -> bytes:
        """At least one byte of the command's output, at most ``most``."""
        data = self._buffer or self._receive(most)
        if not data:
            raise self._ended()
        data, self._buffer = data[:most], data[most:]
        return data

    def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        pieces = []
        while count:
            piece = self.some(count)
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def line(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self._buffer:
            piece = self._receive(_LONGEST_LINE_BYTES)
            if not piece or len(self._buffer) > _LONGEST_LINE_BYTES:
                raise self._ended()
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def rest(self) -> Iterator[bytes]:
        """All that is still to come; raises what a failure of the command means."""
        while data := self._buffer or self._receive(CHUNK_BYTES):
            self._buffer = b""
            yield data
        self._check_end()

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Give it all of ``chunks`` and wait for its end."""
        for chunk in chunks:
            self.send(chunk)
        self.end()

    def end(self) -> None:
        """Say that nothing more comes, and wait for the command to end well."""
        try:
            self._channel.shutdown_write()
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._ended() from error
        for _ in self.rest():
            pass

    def _check_end(self) -> None:
        done = self._completed()
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

    def _skip_noise(self) -> None:
        while self._mark not in self._buffer:
            piece = self._receive(_LONGEST_LINE_BYTES)
            if not piece or len(self._buffer) > _LONGEST_NOISE_BYTES:
                raise self._ended()
            self._buffer += piece
        self._buffer = self._buffer.partition(self._mark)[2]

    def _receive(self, most: int) -> bytes:
        try:
            return self._channel.recv(most)
        except TimeoutError as error:
            raise Broken(f"machine {self._machine}: silent for {self._timeout_s:g} s ({self._path})") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Broken(f"machine {self._machine}: the connection was lost ({self._path})") from error
