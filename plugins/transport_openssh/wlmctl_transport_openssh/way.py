"""How ``ssh`` is called for a machine: its inventory entry over the user's own configuration, and no question asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine
from wlmctl.ssh.ssh_config import VARIABLE

#: Said of every call: nobody is asked, and what an interactive login may want is left away.
_QUIET = (
    "-T", "-x", "-a", "-oBatchMode=yes", "-oLogLevel=ERROR", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
)  # fmt: skip
#: Debian's ssh asks every 300 s where nobody is at the keyboard, and gives up after three questions.
_KEEPALIVE_S = 15
#: The answers of ``ssh -G`` that mean: connect to a host whose key is not the known one.
_CARELESS = frozenset({"false", "no", "off"})
_ASK_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """The beginning of each call of ``ssh``, where it leads to, and the control socket of a login that is shared."""

    machine: str
    login: str
    arguments: tuple[str, ...]
    host: str
    control_path: str | None

    def call(self, *options: str, command: Sequence[str] = ()) -> list[str]:
        """The words of one call."""
        return [*self.arguments, *options, "--", self.host, *command]


def way_of(machine: Machine, timeout_s: float, control_path: str | None) -> Way:
    """The way to ``machine``; ``ConfigError`` where it cannot be, before anything is sent."""
    if machine.host is None:
        raise ConfigError(f"machine {machine.name}: has no host, so there is nothing to log in to")
    if machine.passphrase is not None:
        raise ConfigError(f"machine {machine.name}: passphrase: openssh takes a key with one from the SSH agent only")
    program = shutil.which("ssh")
    if program is None:
        raise ConfigError(
            f"machine {machine.name}: transport openssh: there is no program ssh (Debian: openssh-client)"
        )
    arguments = [program, *_QUIET, f"-oConnectTimeout={max(1, round(timeout_s))}"]
    named = os.environ.get(VARIABLE)
    if named:
        arguments += ["-F", os.path.expanduser(named)]
    if machine.user is not None:
        arguments += ["-l", machine.user]
    if machine.port is not None:
        arguments += ["-p", str(machine.port)]
    if machine.jump is not None:
        arguments.append(f"-oProxyJump={machine.jump}")
    if machine.key is not None:
        arguments += ["-i", os.path.expanduser(machine.key), "-oIdentitiesOnly=yes"]
    plain = Way(machine.name, "", tuple(arguments), machine.host, control_path)
    said = _said(plain)
    if said.get("stricthostkeychecking") in _CARELESS:
        arguments.append("-oStrictHostKeyChecking=yes")
    keepalive_s = max(1, min(_KEEPALIVE_S, round(timeout_s / 3)))
    if not 0 < int(said.get("serveraliveinterval", "0")) <= keepalive_s:
        arguments.append(f"-oServerAliveInterval={keepalive_s}")
    socket = said.get("controlpath", "none")
    return replace(
        plain,
        login="{user}@{hostname}:{port}".format_map(said),
        arguments=tuple(arguments),
        control_path=None if socket == "none" else socket,
    )


def environment() -> dict[str, str]:
    """What ``ssh`` is run with: it shall ask nobody, and neither shall those that it starts on the way."""
    return {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}


def _said(way: Way) -> Mapping[str, str]:
    """The settings that ``ssh`` itself arrives at."""
    options = ("-G",) if way.control_path is None else ("-G", "-S", way.control_path)
    try:
        done = subprocess.run(
            way.call(*options), stdin=subprocess.DEVNULL, capture_output=True, env=environment(),
            start_new_session=True, timeout=_ASK_TIMEOUT_S, check=False, encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"machine {way.machine}: the SSH configuration cannot be used: ssh -G does not end") from None
    if done.returncode != 0:
        text = " ".join(done.stderr.split()) or f"ssh -G ends with code {done.returncode}"
        raise ConfigError(f"machine {way.machine}: the SSH configuration cannot be used: {text}")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
