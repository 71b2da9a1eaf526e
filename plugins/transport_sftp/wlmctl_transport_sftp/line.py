"""The SFTP subsystem of a connection as a line for bytes: what a session talks over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import paramiko

from wlmctl.errors import Broken, Unreachable
from wlmctl.ssh.command import close_channel, open_channel
from wlmctl.ssh.flow import Sink, reopen_window, send_all
from wlmctl.ssh.transport import SshTransport


class Line(Protocol):
    """Bytes both ways between this process and an SFTP server. All but ``start``'s arguments is for one thread."""

    @property
    def is_alive(self) -> bool:
        """True while it is open, as far as this side knows."""
        ...

    def start(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Begin: what arrives goes to ``take`` in another thread, and ``end`` is called when nothing more will come.

        Neither may wait, send or raise. Raises ``Unreachable`` where the host offers no SFTP.
        """
        ...

    def send(self, *parts: bytes | memoryview) -> None:
        """Send ``parts``; ``Broken`` when the connection is lost, or the host takes nothing for too long."""
        ...

    def dealt_with(self, count: int) -> None:
        """So many of the bytes that ``take`` was given have been dealt with: as many more may come."""
        ...

    def close(self) -> None:
        """End it; a second call does nothing."""
        ...


class ChannelLine:
    """A line over a channel of an SSH connection."""

    def __init__(self, ssh: SshTransport) -> None:
        self._name, self._timeout_s = ssh.login.machine, ssh.timeout_s
        self._channel = open_channel(ssh)

    @property
    def is_alive(self) -> bool:
        """True while the channel is open."""
        return not (self._channel.closed or self._channel.eof_received)

    def start(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Ask for the subsystem."""
        self._channel.in_buffer = Sink(take, end)  # type: ignore[assignment]
        try:
            self._channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(no_sftp(self._name)) from error

    def send(self, *parts: bytes | memoryview) -> None:
        """Send ``parts``."""
        try:
            send_all(self._channel, *parts)
        except TimeoutError as error:
            raise Broken(f"machine {self._name}: the host takes nothing for {self._timeout_s:g} s") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Broken(f"machine {self._name}: the connection was lost") from error

    def dealt_with(self, count: int) -> None:
        """Let as many more come."""
        try:
            reopen_window(self._channel, count)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Broken(f"machine {self._name}: the connection was lost") from error

    def close(self) -> None:
        """Close the channel."""
        close_channel(self._channel)


def no_sftp(name: str) -> str:
    """What to say of a host whose SFTP does not work."""
    return f'machine {name}: the host offers no SFTP (transport = "scp" may work)'
