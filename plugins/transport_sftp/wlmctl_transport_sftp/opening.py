"""Making an ``sftp`` transport: the connection, the session, and whether the login has a shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.machine import Machine
from wlmctl.sftp.files import SftpShellTransport, SftpTransport
from wlmctl.sftp.session import Session
from wlmctl.ssh.connection import connect
from wlmctl.ssh.options import timeout_of
from wlmctl.ssh.survey import Surveying
from wlmctl_transport_sftp.channel_line import ChannelLine


def open_transport(machine: Machine, options: Mapping[str, Any]) -> SftpTransport:
    """An open transport, with ``run`` exactly when the machine has a shell."""
    ssh = connect(machine, timeout_of(machine, options))
    try:
        line = ChannelLine(ssh)  # first: some hosts allow one channel only
        surveying = None if machine.shell == "none" else Surveying(ssh)
        session = Session(line, machine.name, ssh.timeout_s)
        tools = surveying.result() if surveying is not None else None
    except BaseException:
        ssh.close()
        raise
    return SftpTransport(ssh, session) if tools is None else SftpShellTransport(ssh, session, tools)
