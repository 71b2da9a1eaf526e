"""The SFTP subsystem of a connection as a line for bytes: what a session talks over."""

from __future__ import annotations

from collections.abc import Callable

import paramiko

from wlmctl.errors import Broken, Unreachable
from wlmctl.sftp.line import no_sftp
from wlmctl.ssh.command import close_channel, open_channel
from wlmctl.ssh.flow import Sink, divert, reopen_window, request, send_all
from wlmctl.ssh.transport import SshTransport


class ChannelLine:
    """A line over a channel of an SSH connection."""

    def __init__(self, ssh: SshTransport) -> None:
        self._name, self._timeout_s = ssh.login.machine, ssh.timeout_s
        self._channel = open_channel(ssh)

    @property
    def is_alive(self) -> bool:
        """True while the channel is open."""
        return not (self._channel.closed or self._channel.eof_received)

    def start(self, take: Callable[[bytes | memoryview], None], end: Callable[[], None]) -> None:
        """Ask for the subsystem."""
        divert(self._channel, Sink(take, end))
        try:
            request(self._channel, "subsystem", b"sftp")
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
