"""A session channel opened ahead of the command that will want it, which so pays one round trip less."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from wlmctl.ssh.transport import SshTransport

_LOOK_EACH_S = 0.01


class Ahead:
    """The channels of one connection, of which one more is open than is in use.

    A host that refuses one more is not asked for one ahead again: there one thread waits for the other's to be closed.
    """

    def __init__(self, ssh: SshTransport) -> None:
        self._ssh = ssh
        self._lock = threading.Lock()
        self._next: _Opening | None = None
        self._is_refused = False
        self._given: list[tuple[paramiko.Channel, int]] = []  # with the thread that uses it

    def take(self) -> paramiko.Channel:
        """An open channel; raises what ``open_session`` raises."""
        with self._lock:
            ahead, self._next = self._next, None
        channel = ahead.result() if ahead is not None else None
        if channel is None:
            self._is_refused = self._is_refused or ahead is not None
            channel = self._opened()
        # Only now: where the host allows a single session the command has it.
        with self._lock:
            self._given = [*self._in_use(), (channel, threading.get_ident())]
            if self._next is None and not self._is_refused:
                self._next = _Opening(self._ssh)
        return channel

    def _opened(self) -> paramiko.Channel:
        """One more; where it is refused, once the other threads' are closed and the host has taken notice of that."""
        refused_at_s = None
        while True:
            try:
                return self._ssh.open_session(timeout=self._ssh.timeout_s)
            except paramiko.ChannelException:
                now_s = time.monotonic()
                refused_at_s = refused_at_s or now_s
                is_own = any(thread == threading.get_ident() for _, thread in self._in_use())
                if is_own or not self._given or now_s > refused_at_s + self._ssh.timeout_s:
                    raise
            time.sleep(_LOOK_EACH_S)
            while self._in_use() and self._ssh.is_active():
                refused_at_s = None
                time.sleep(_LOOK_EACH_S)

    def _in_use(self) -> list[tuple[paramiko.Channel, int]]:
        return [(channel, thread) for channel, thread in self._given if not channel.closed]


class _Opening(threading.Thread):
    """One channel on its way."""

    def __init__(self, ssh: SshTransport) -> None:
        super().__init__(daemon=True, name="channel-ahead")
        self._ssh = ssh
        self._channel: paramiko.Channel | None = None
        self.start()

    def run(self) -> None:
        """In the thread."""
        # When there is none, whoever wants a channel asks for one, and is told why.
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel = self._ssh.open_session(timeout=self._ssh.timeout_s)

    def result(self) -> paramiko.Channel | None:
        """Wait for it; None where the host has refused it, or has closed it since."""
        self.join()
        return None if self._channel is None or self._channel.closed else self._channel
