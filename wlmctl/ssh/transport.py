"""paramiko's transport, set up for long transfers, and with the exit code of a command that a signal ended."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_REQUEST
from paramiko.message import Message

from wlmctl.ssh.ahead import Ahead
from wlmctl.ssh.ends import Ends
from wlmctl.ssh.login import Login
from wlmctl.ssh.packets import PACKETIZER, FastPacketizer
from wlmctl.transport import Completed

# Every error is translated and raised; paramiko's own account of it, tracebacks included, is noise.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

#: Large enough for full speed; above 4 MiB sshd and paramiko's buffers become several times slower.
WINDOW_BYTES = 4 * 1024 * 1024
_KEEPALIVE_S = 15
#: A rekeying that this side starts can deadlock with a window adjustment; sshd starts them in time.
_NEVER = 2**62
#: What sshd says to the wish for one session more than ``MaxSessions``.
_REFUSED = 2
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class SshTransport(paramiko.Transport):
    """One SSH connection. ``close`` also runs ``on_close`` (once), which gives back the way it came by."""

    def __init__(self, sock: socket.socket | paramiko.Channel, login: Login, timeout_s: float) -> None:
        super().__init__(sock, default_window_size=WINDOW_BYTES, packetizer_class=PACKETIZER)
        self.login, self.timeout_s = login, timeout_s
        if isinstance(self.packetizer, FastPacketizer):
            self.packetizer.longest_silence_s = timeout_s
        self.on_close: Callable[[], None] | None = None
        #: Called behind each message that has gone out.
        self.on_sent: Callable[[], None] | None = None
        #: Where commands take their channels from, for who runs many one after the other.
        self.ahead: Ahead | None = None
        self.ends = Ends()
        #: Whether the host has said that it ends the connection, as it does after too many keys.
        self.is_dismissed = False
        self.users = 0
        self.daemon = True
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = self.channel_timeout = timeout_s
        options = self.get_security_options()
        fast = [name for name in _FAST_CIPHERS if name in options.ciphers]
        options.ciphers = (*fast, *(name for name in options.ciphers if name not in fast))
        self.packetizer.REKEY_BYTES = self.packetizer.REKEY_PACKETS = _NEVER
        self.set_keepalive(_KEEPALIVE_S)

    def prefer_host_keys(self, kinds: list[str]) -> None:
        """Ask the host for a key of one of these types first: those that known_hosts lists for it."""
        options = self.get_security_options()
        wanted = set(kinds)
        if "ssh-rsa" in wanted:
            wanted |= {"rsa-sha2-512", "rsa-sha2-256"}
        first = [kind for kind in options.key_types if kind in wanted]
        options.key_types = (*first, *(kind for kind in options.key_types if kind not in first))

    def run_script(
        self,
        script: str,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run ``script`` by ``sh`` and wait for its end; ``Broken`` after ``timeout_s`` or a lost connection.

        ``heard`` is called with its stdout so far, and what a login shell has said before, whenever more has come.
        """
        from wlmctl.ssh import command  # which opens channels of this

        return command.run(self, script, stdin, timeout_s, heard)

    def channel(self) -> paramiko.Channel:
        """A session channel, from ``ahead`` where there is one; raises what ``open_session`` raises."""
        return self.ahead.take() if self.ahead is not None else self.open_session(timeout=self.timeout_s)

    def open_session(self, *args: Any, **options: Any) -> paramiko.Channel:
        """As paramiko's; a refusal is always a ``ChannelException``."""
        try:
            return super().open_session(*args, **options)
        except paramiko.SSHException as error:
            # paramiko keeps one error for all who ask: another thread may have taken this one's
            if self.is_active() and str(error) == "Unable to open channel.":
                raise paramiko.ChannelException(_REFUSED, "Connect failed") from error
            raise

    def _parse_disconnect(self, message: Message) -> None:
        self.is_dismissed = True
        super()._parse_disconnect(message)  # type: ignore[misc]

    def _send_user_message(self, data: Any) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        on_sent = self.on_sent
        if on_sent is not None:
            on_sent()

    def close(self) -> None:
        """End the connection and all its channels; a second call does nothing."""
        super().close()
        self.sock.close()
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


def _note_exit_signal(channel: Any, message: Message) -> None:
    """Take ``exit-signal`` as the exit code 128 + n, as a shell does; paramiko itself drops it."""
    start = message.packet.tell()
    if message.get_text() != "exit-signal":
        message.packet.seek(start)
        paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]
        return
    message.get_boolean()
    number = getattr(signal, f"SIG{message.get_text()}", signal.SIGKILL)
    channel.exit_status = 128 + int(number)
    channel.status_event.set()


def _note_end(channel: Any, _: Message) -> None:
    """Answer it when nothing more goes out for the channel; paramiko itself does so in the midst of that."""
    channel.transport.ends.end(channel)


_handlers = getattr(paramiko.Transport, "_channel_handler_table", {})
SshTransport._channel_handler_table = {  # type: ignore[attr-defined]
    **_handlers,
    MSG_CHANNEL_REQUEST: _note_exit_signal,
    MSG_CHANNEL_CLOSE: _note_end,
}
