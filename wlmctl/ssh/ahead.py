"""A session channel opened ahead of the command that will want it, which so pays one round trip less."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from wlmctl.ssh.transport import SshTransport


class Ahead:
    """The channels of one connection, of which one more is open than is in use.

    A host that refuses one more is not asked for one ahead again.
    """

    def __init__(self, ssh: SshTransport) -> None:
        self._ssh = ssh
        self._lock = threading.Lock()
        self._next: _Opening | None = None
        self._is_refused = False

    def take(self) -> paramiko.Channel:
        """An open channel; raises what ``open_session`` raises."""
        with self._lock:
            ahead, self._next = self._next, None
        channel = ahead.result() if ahead is not None else None
        if channel is None:
            self._is_refused = self._is_refused or ahead is not None
            channel = self._ssh.open_session(timeout=self._ssh.timeout_s)
        # Only now: where the host allows a single session the command has it.
        with self._lock:
            if self._next is None and not self._is_refused:
                self._next = _Opening(self._ssh)
        return channel


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
