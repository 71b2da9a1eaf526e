"""Proving who we are: the keys of the agent and of files, offered one after the other."""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Iterator, Sequence

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from wlmctl.errors import LoginRefused, Unreachable
from wlmctl.secret import reveal
from wlmctl.ssh.login import Login
from wlmctl.ssh.shell import what_it_says
from wlmctl.ssh.transport import SshTransport

log = logging.getLogger(__name__)


def authenticate(transport: SshTransport, login: Login) -> None:
    """Log in with the first key that the host takes; ``LoginRefused`` lists what was offered."""
    offered: list[str] = []
    notes: list[str] = []
    agent = paramiko.Agent()
    try:
        for key, name in _keys(agent, login, notes):
            offered.append(name)
            try:
                further = transport.auth_publickey(login.user, key)
            except paramiko.BadAuthenticationType as error:
                notes.append(f"the host takes no keys, only {_ways(error.allowed_types)}")
                break
            except (paramiko.SSHException, OSError, EOFError) as error:
                if transport.is_active() and isinstance(error, paramiko.AuthenticationException):
                    continue
                # some hosts end a connection without a word, but after the first key only a fault does
                if not transport.is_active() and (transport.is_dismissed or len(offered) > 1):
                    notes.append("the host ended the connection after these")
                    break
                raise Unreachable(f"machine {login.machine}: {login}: the login broke off: {error}") from error
            if not further:
                return
            notes.append(f"{name} was taken, but the host also wants {_ways(further)}")
    finally:
        agent.close()
    if banner := transport.get_banner():
        notes.append(f"the host says: {what_it_says(banner)}")
    raise LoginRefused(
        f"machine {login.machine}: {login} refused the login; offered: {', '.join(offered) or 'no key at all'}"
        + "".join(f"; {note}" for note in notes)
    )


def _ways(methods: Sequence[str]) -> str:
    """Ways to log in that are no keys, and what to do where only a person can take them."""
    hint = "" if "keyboard-interactive" not in methods else (
        ' (a password or a second factor: log in by hand and leave that open, transport = "openssh" with control_path)'
    )  # fmt: skip
    return ", ".join(methods) + hint


def _keys(agent: paramiko.Agent, login: Login, notes: list[str]) -> Iterator[tuple[paramiko.PKey, str]]:
    """The agent's keys that a configured file names, the agent's others (unless refused), then the files themselves."""
    held = {key.asbytes(): key for key in _agent_keys(agent)}
    named = {public: path for path in login.identities if (public := _public_bytes(path)) is not None}
    for public, path in named.items():
        if public in held:
            yield held[public], f"{path} (agent)"
    if not login.identities_only:
        for public, key in held.items():
            if public not in named:
                yield key, f"agent key {getattr(key, 'comment', '') or key.get_name()}"
    for path in login.identities:
        loaded = _load(path, login, notes, in_agent=_public_bytes(path) in held)
        if loaded is not None:
            yield loaded, path


def _agent_keys(agent: paramiko.Agent) -> tuple[paramiko.AgentKey, ...]:
    try:
        return agent.get_keys()
    except (paramiko.SSHException, OSError) as error:
        log.warning("the SSH agent cannot be asked: %s", error)
        return ()


def _load(path: str, login: Login, notes: list[str], in_agent: bool) -> paramiko.PKey | None:
    if not os.path.exists(path):
        if login.identities_only:
            notes.append(f"{path} does not exist")
        return None
    try:
        return _read_key(path, None)
    except (TypeError, paramiko.PasswordRequiredException):
        pass  # it has a passphrase
    except OSError as error:
        notes.append(f"{path} cannot be read: {error.strerror}")
        return None
    except (ValueError, UnsupportedAlgorithm, paramiko.SSHException):
        notes.append(f"{path} holds no key that can be used")
        return None
    if login.passphrase is None:
        if not in_agent:
            notes.append(
                f'{path} has a passphrase: give passphrase = {{env = "NAME"}}, or add the key to the SSH agent'
            )
        return None
    passphrase = reveal(login.passphrase, f"machine {login.machine}: passphrase")
    try:
        return _read_key(path, passphrase)
    except (TypeError, ValueError, UnsupportedAlgorithm, paramiko.SSHException):
        notes.append(f"the passphrase does not open {path}")
        return None


def _read_key(path: str, passphrase: str | None) -> paramiko.PKey:
    # OpenSSH's own reader wants bytes; paramiko's types say otherwise.
    secret: object = None if passphrase is None else passphrase.encode()
    return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]


def _public_bytes(path: str) -> bytes | None:
    try:
        with open(path if path.endswith(".pub") else f"{path}.pub", encoding="ascii") as file:
            return base64.b64decode(file.readline().split()[1])
    except (OSError, UnicodeDecodeError, IndexError, binascii.Error):
        return None
