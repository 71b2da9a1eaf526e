"""Making an ``sftp`` transport: the connection, the session, and whether the login has a shell."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from wlmctl.errors import TransportError
from wlmctl.machine import Machine
from wlmctl.sftp.files import SftpShellTransport, SftpTransport
from wlmctl.sftp.session import Session
from wlmctl.ssh.connection import connect
from wlmctl.ssh.options import timeout_of
from wlmctl.ssh.surveying import Surveying
from wlmctl.ssh.transport import SshTransport
from wlmctl_transport_sftp.channel_line import ChannelLine


def open_transport(machine: Machine, options: Mapping[str, Any]) -> SftpTransport:
    """An open transport, with ``run`` exactly when the machine has a shell."""
    ssh = connect(machine, timeout_of(machine, options))
    try:
        line, surveying = _asked_together(ssh, machine.shell != "none")
        session = _session(line, machine.name, ssh.timeout_s, surveying)
        has_shell = surveying is not None and surveying.has_shell()
    except BaseException:
        ssh.close()
        raise
    if surveying is None or not has_shell:
        return SftpTransport(ssh, session)
    return SftpShellTransport(ssh, session, surveying.tools)


def _asked_together(ssh: SshTransport, has_shell: bool) -> tuple[ChannelLine, Surveying | None]:
    """The line, and a survey that is asked for right behind it: some hosts allow one channel only."""
    is_asked = threading.Event()
    ssh.on_sent = is_asked.set
    try:
        surveying = Surveying(ssh, is_asked) if has_shell else None
        return ChannelLine(ssh), surveying
    finally:
        ssh.on_sent = None
        is_asked.set()


def _session(line: ChannelLine, name: str, timeout_s: float, surveying: Surveying | None) -> Session:
    """The session; ``TurnedAway`` says why there is none where the login runs no command either."""
    try:
        return Session(line, name, timeout_s)
    except TransportError as error:
        turned_away = surveying.turned_away() if surveying is not None else None
        raise turned_away or error from error
