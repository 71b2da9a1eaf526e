"""A process of ``ssh`` that speaks with the host's SFTP server, as a line for bytes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from wlmctl.errors import Broken
from wlmctl_transport_openssh.way import environment

#: Taken and not yet dealt with; more waits in the process, and so with the host.
_WINDOW_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
_PARTS = 64
_END_S = 0.5


class ProcessLine:
    """The standard input and output of ``argv``; what it writes as errors goes to the file ``said``."""

    def __init__(self, argv: Sequence[str], said: Path, name: str, timeout_s: float) -> None:
        self._name, self._timeout_s = name, timeout_s
        self._socket, theirs = socket.socketpair()
        self._said = said
        try:
            with theirs, said.open("wb") as errors:
                self._process = subprocess.Popen(
                    argv,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=errors,
                    env=environment(),
                    start_new_session=True,
                )
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(timeout_s)
        self._room = threading.Condition()
        self._held_bytes = 0
        self._is_ended = self._is_closed = self._is_terminated = False

    @property
    def is_alive(self) -> bool:
        """True while the process runs and has not ended its output."""
        return not self._is_ended and self._process.poll() is None

    def start(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, args=(take, end), name=f"sftp {self._name}", daemon=True).start()

    def send(self, *parts: bytes | memoryview) -> None:
        """Send ``parts``."""
        waiting = [memoryview(part) for part in parts if len(part)]
        try:
            while waiting:
                sent = self._socket.sendmsg(waiting[:_PARTS])
                while waiting and sent >= len(waiting[0]):
                    sent -= len(waiting.pop(0))
                if sent:
                    waiting[0] = waiting[0][sent:]
        except TimeoutError as error:
            raise Broken(f"machine {self._name}: the host takes nothing for {self._timeout_s:g} s") from error
        except OSError as error:
            raise Broken(f"machine {self._name}: the connection was lost") from error

    def dealt_with(self, count: int) -> None:
        """Let as many more come."""
        with self._room:
            self._held_bytes -= count
            self._room.notify()

    def close(self) -> None:
        """End the process, which ends its login where that is its own."""
        if self._is_closed:
            return
        with self._room:
            self._is_closed = True
            self._room.notify()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for end in (self._process.terminate, self._process.kill, None):
            try:
                self._process.wait(_END_S if end is not None else None)
                break
            except subprocess.TimeoutExpired:
                if end is not None:
                    self._is_terminated = True
                    end()
        self._socket.close()

    def last_words(self) -> str | None:
        """After ``close``: what the process wrote as errors; None where it had to be ended."""
        return None if self._is_terminated else self._said.read_text(encoding="utf-8", errors="replace")

    @property
    def exit_code(self) -> int | None:
        """How the process ended; 255 is ssh's own, another what the host has answered with."""
        return self._process.poll()

    def _read(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        try:
            while not self._is_closed:
                try:
                    piece = self._socket.recv(_PIECE_BYTES)
                except TimeoutError:
                    continue  # that the host has nothing to say is for the session to judge
                if not piece:
                    return
                with self._room:
                    self._held_bytes += len(piece)
                take(piece)
                with self._room:
                    self._room.wait_for(lambda: self._held_bytes < _WINDOW_BYTES or self._is_closed)
        except OSError:
            return  # closed under its hands, or the process is gone
        finally:
            self._is_ended = True
            end()
