"""How to log in to a machine: its inventory entry over ``~/.ssh/config`` over OpenSSH's defaults; no network."""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wlmctl.errors import ConfigError
from wlmctl.machine import Machine, Reference
from wlmctl.ssh.lean import allow_match_exec, lean_paramiko
from wlmctl.ssh.ssh_config import config_text

_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_DEFAULT_IDENTITIES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_SPEC = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?/?")


@dataclass(frozen=True, slots=True)
class Login:
    """All that is needed to connect. ``jump`` is the way there, the last hop last; it excludes ``proxy_command``."""

    machine: str
    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    identities_only: bool
    passphrase: Reference | None
    jump: tuple[Login, ...]
    proxy_command: str | None
    user_known_hosts: tuple[str, ...]
    global_known_hosts: tuple[str, ...]
    host_key_alias: str | None
    host_keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def known_names(self) -> tuple[str, ...]:
        """The names under which known_hosts may list the host, the one to write first."""
        if self.host_key_alias:
            return (self.host_key_alias,)
        return (self.host,) if self.port == 22 else (f"[{self.host}]:{self.port}", self.host)


def resolved_login(machine: Machine) -> str:
    """``user@host:port`` after ``~/.ssh/config``: what budgets of connections are counted by.

    A machine without a login counts by its name.
    """
    return machine.name if machine.host is None else str(resolve(machine))


def resolve(machine: Machine) -> Login:
    """How to log in to ``machine``; ``ConfigError`` for a machine or a file that says it wrongly."""
    if machine.host is None:
        raise ConfigError(f"machine {machine.name}: has no host, so there is nothing to log in to")
    return _resolve(machine, machine.host, machine.user, machine.port, machine.jump, 0)


def _resolve(machine: Machine, host: str, user: str | None, port: int | None, jump: str | None, depth: int) -> Login:
    if depth > 8:
        raise ConfigError(f"machine {machine.name}: its jump hosts lead through one another without end")
    options = _lookup(machine.name, host, user, port)
    jump = jump or options.get("proxyjump")
    user = options.get("user") or getpass.getuser()
    direct = jump is None or jump.lower() == "none"
    proxy_command = options.get("proxycommand") if direct else None
    address = options.get("hostname", host)
    return Login(
        machine=machine.name,
        host=address,
        port=_port(options.get("port", "22"), machine.name),
        user=user,
        identities=_identities(machine, options),
        identities_only=machine.key is not None or options.get("identitiesonly", "no").lower() == "yes",
        passphrase=machine.passphrase,
        jump=() if direct else _chain(machine, jump or "", depth),
        proxy_command=None if (proxy_command or "none").lower() == "none" else proxy_command,
        user_known_hosts=_files(options.get("userknownhostsfile", _USER_KNOWN_HOSTS), address, user),
        global_known_hosts=_files(options.get("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS), address, user),
        host_key_alias=options.get("hostkeyalias"),
        host_keys=machine.host_keys,
    )


def _chain(machine: Machine, jump: str, depth: int) -> tuple[Login, ...]:
    hops: list[Login] = []
    for spec in jump.split(","):
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            raise ConfigError(f"machine {machine.name}: jump: {spec.strip()!r}, expected [user@]host[:port]")
        port = _port(match["port"], machine.name) if match["port"] else None
        # Only the first hop may have a way of its own; the others are reached through the one before.
        via = None if not hops else "none"
        hop = _resolve(machine, match["host"].strip("[]"), match["user"], port, via, depth + 1)
        hops += [*hop.jump, hop]
    return tuple(hops)


def _lookup(machine: str, host: str, user: str | None, port: int | None) -> Mapping[str, str]:
    paramiko = lean_paramiko()
    # The inventory's own values come first, so that they win, also inside ProxyCommand and Match.
    first = "Host *\n" + (f"User {user}\n" if user else "") + (f"Port {port}\n" if port else "")
    try:
        config = paramiko.SSHConfig.from_text(first + "Host *\n" + config_text())
        try:
            found = config.lookup(host)
        except ImportError:
            allow_match_exec()
            found = config.lookup(host)
    except (paramiko.SSHException, ImportError, ValueError) as error:
        raise ConfigError(f"machine {machine}: the SSH configuration cannot be used: {error}") from error
    return {key: "\0".join(value) if isinstance(value, list) else str(value) for key, value in found.items()}


def _identities(machine: Machine, options: Mapping[str, str]) -> tuple[str, ...]:
    if machine.key is not None:
        return (os.path.expanduser(machine.key),)
    named = options.get("identityfile")
    names = named.split("\0") if named else _DEFAULT_IDENTITIES
    return tuple(os.path.expanduser(name) for name in names if name.lower() != "none")


def _files(text: str, host: str, user: str) -> tuple[str, ...]:
    tokens = {"%%": "%", "%d": str(Path.home()), "%h": host, "%r": user, "%u": getpass.getuser()}
    names = shlex.split(text.replace("\0", " "))
    expanded = (re.sub("%.", lambda found: tokens.get(found[0], found[0]), name) for name in names)
    return tuple(os.path.expanduser(name) for name in expanded if name.lower() != "none")


def _port(text: str, machine: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigError(f"machine {machine}: port {text!r}, expected a number from 1 to 65535")
    return int(text)
