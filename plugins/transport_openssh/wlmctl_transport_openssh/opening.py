"""Making an ``openssh`` transport: the login, the session, and whether there is a shell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from wlmctl.errors import Broken, ConfigError, TransportError, TurnedAway, Unreachable
from wlmctl.machine import Machine
from wlmctl.sftp.files import SftpShellTransport, SftpTransport
from wlmctl.sftp.session import Session
from wlmctl.ssh.options import timeout_of
from wlmctl.ssh.survey import Survey, survey
from wlmctl_transport_openssh.login import SshLogin

#: Pauses before a login that was dropped is tried again: sshd drops some when many come at once (MaxStartups).
_PAUSES_S = (0.3, 1.0)


def open_transport(machine: Machine, options: Mapping[str, Any]) -> SftpTransport:
    """An open transport, with ``run`` exactly when the machine has a shell."""
    timeout_s = timeout_of(machine, options, ("control_path",))
    control_path = options.get("control_path")
    if control_path is not None and (not isinstance(control_path, str) or not control_path):
        raise ConfigError(f"machine {machine.name}: transport_options: control_path: expected the path of a socket")
    for pause_s in _PAUSES_S:
        try:
            return _opened(machine, timeout_s, control_path)
        except Broken:
            time.sleep(pause_s)
    try:
        return _opened(machine, timeout_s, control_path)
    except Broken as error:
        raise Unreachable(str(error)) from error


def _opened(machine: Machine, timeout_s: float, control_path: str | None) -> SftpTransport:
    """``Broken`` where another try may help: the host dropped the connection."""
    login = SshLogin(machine, timeout_s, control_path)
    try:
        session = _session(login)
        tools = None if machine.shell == "none" else _tools(login)
    except BaseException:
        login.close()
        raise
    if tools is None:
        return SftpTransport(login, session)
    found = tools
    return SftpShellTransport(login, session, lambda: found)


def _session(login: SshLogin) -> Session:
    try:
        return Session(login.line, login.machine, login.timeout_s)
    except TransportError as error:
        raise login.refused(error) from error


def _tools(login: SshLogin) -> Survey | None:
    try:
        return survey(login)
    except TurnedAway:  # it has SFTP, and that only
        return None
