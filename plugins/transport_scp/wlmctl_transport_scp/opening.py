"""Making an ``scp`` transport: the connection, and whether the login has what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlmctl.errors import ConfigError, TurnedAway, Unreachable
from wlmctl.machine import Machine
from wlmctl.ssh.ahead import Ahead
from wlmctl.ssh.connection import connect
from wlmctl.ssh.options import timeout_of
from wlmctl.ssh.survey import survey
from wlmctl_transport_scp.files import ScpTransport


def open_transport(machine: Machine, options: Mapping[str, Any]) -> ScpTransport:
    """An open transport; ``Unreachable`` says what the login lacks."""
    if machine.shell == "none":
        raise ConfigError(
            f'machine {machine.name}: transport "scp" needs a shell, and shell = "none" says there is none'
        )
    ssh = connect(machine, timeout_of(machine, options))
    ssh.ahead = Ahead(ssh)
    try:
        tools = survey(ssh)
        if tools is None:
            raise Unreachable(f'machine {machine.name}: the login has no shell: use transport = "sftp"')
        if not tools.has_scp:
            raise Unreachable(f'machine {machine.name}: there is no scp program: use transport = "sftp"')
    except TurnedAway as error:
        ssh.close()
        raise Unreachable(f'{error} (if it never has a shell: transport = "sftp")') from error
    except BaseException:
        ssh.close()
        raise
    return ScpTransport(ssh, tools)
