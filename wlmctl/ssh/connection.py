"""Opening an SSH connection: the way there, the host's key, the login; every fault becomes one of our errors."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from wlmctl.errors import Broken, Unreachable, UntrustedHost
from wlmctl.machine import Machine
from wlmctl.ssh import known_hosts
from wlmctl.ssh.keys import authenticate
from wlmctl.ssh.known_hosts import HostKey, KnownHost, Trust
from wlmctl.ssh.login import Login, resolve
from wlmctl.ssh.proxy_command import ProxySocket
from wlmctl.ssh.socket_options import open_socket
from wlmctl.ssh.transport import SshTransport

DEFAULT_TIMEOUT_S = 30.0
#: Pauses before a handshake that broke off is tried again: sshd drops some when many come at once (MaxStartups).
_PAUSES_S = (0.3, 1.0)


def connect(machine: Machine, timeout_s: float = DEFAULT_TIMEOUT_S) -> SshTransport:
    """An open connection to ``machine``: its host key verified, logged in, with ``timeout_s`` for each silence.

    Raises ``UntrustedHost``, ``LoginRefused`` or ``Unreachable``.
    """
    login = resolve(machine)
    return _connect(login, login.jump, timeout_s)


def hops(machine: Machine) -> tuple[Login, ...]:
    """The hosts on the way to ``machine``, itself the last; the way to each leads through those before it."""
    login = resolve(machine)
    return (*login.jump, login)


def scan_host_key(machine: Machine, hop: int = -1, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[HostKey, Trust]:
    """The key that a host of ``hops`` shows now, and what known_hosts says of it; no login is sent to that host."""
    way = hops(machine)
    login = way[hop]
    transport = _handshake(login, way[: way.index(login)], timeout_s)
    try:
        return _judge(transport, login)[:2]
    finally:
        transport.close()


def trust(machine: Machine, key: HostKey, hop: int = -1) -> str:
    """Store ``key`` as that of a host of ``hops`` in the user's known_hosts; returns the name of the file."""
    login = hops(machine)[hop]
    file = login.user_known_hosts[0] if login.user_known_hosts else os.path.expanduser("~/.ssh/known_hosts")
    known_hosts.add(file, login.known_names[0], key)
    return file


def _connect(login: Login, way: Sequence[Login], timeout_s: float) -> SshTransport:
    transport = _handshake(login, way, timeout_s)
    try:
        _verify(transport, login)
        authenticate(transport, login)
    except BaseException:
        transport.close()
        raise
    return transport


def _handshake(login: Login, way: Sequence[Login], timeout_s: float) -> SshTransport:
    for pause_s in _PAUSES_S:
        begun = time.monotonic()
        try:
            return _handshake_once(login, way, timeout_s)
        except Broken as error:
            if time.monotonic() - begun >= timeout_s / 2:  # a host that keeps silent, not one that has too many at once
                raise Unreachable(str(error)) from error
            time.sleep(pause_s)
    try:
        return _handshake_once(login, way, timeout_s)
    except Broken as error:
        raise Unreachable(str(error)) from error


def _handshake_once(login: Login, way: Sequence[Login], timeout_s: float) -> SshTransport:
    """``Broken`` where another try may help: the connection came about and was dropped."""
    what = f"machine {login.machine}: {login}"
    jump: SshTransport | None = None
    sock: socket.socket | paramiko.Channel
    if way:
        jump = _jumps.take(way, timeout_s)
        try:
            sock = _through(jump, login, timeout_s)
        except BaseException:
            _jumps.give_back(way, jump)
            raise
    elif login.proxy_command:
        sock = ProxySocket(login.proxy_command, what)
    else:
        sock = _socket(login, what, timeout_s)
    transport = SshTransport(sock, login, timeout_s)
    if jump is not None:
        transport.on_close = lambda: _jumps.give_back(way, jump)
    try:
        transport.prefer_host_keys(known_hosts.known_kinds(_known(login), login.known_names))
        transport.start_client(timeout=timeout_s)
        transport.get_remote_server_key()
    except (EOFError, OSError, paramiko.SSHException) as error:
        transport.close()
        if isinstance(error, IncompatiblePeer):
            raise Unreachable(f"{what}: no common algorithm: {error}") from error
        raise Broken(f"{what}: the SSH handshake broke off: {str(error) or 'connection closed'}") from error
    except BaseException:
        transport.close()
        raise
    return transport


def _socket(login: Login, what: str, timeout_s: float) -> socket.socket:
    try:
        return open_socket(login.host, login.port, what, timeout_s)
    except Unreachable as error:
        if isinstance(error.__cause__, ConnectionResetError):  # it was dropped before this process could see it
            raise Broken(str(error)) from error
        raise


def _through(jump: SshTransport, login: Login, timeout_s: float) -> paramiko.Channel:
    try:
        return jump.open_channel("direct-tcpip", (login.host, login.port), ("127.0.0.1", 0), timeout=timeout_s)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Unreachable(f"machine {login.machine}: {login} cannot be reached from {jump.login}: {error}") from error


def _judge(transport: SshTransport, login: Login) -> tuple[HostKey, Trust, str]:
    remote = transport.get_remote_server_key()
    key = HostKey(remote.get_name(), remote.get_base64())
    verdict, where = known_hosts.judge(_known(login), login.known_names, key)
    return key, verdict, where


def _known(login: Login) -> list[KnownHost]:
    """What this host's files say, and what came with the task: a key that either trusts is trusted."""
    files = known_hosts.read_known_hosts((*login.user_known_hosts, *login.global_known_hosts))
    return [*files, *known_hosts.known_to_all(login.host_keys)]


def _verify(transport: SshTransport, login: Login) -> None:
    key, verdict, where = _judge(transport, login)
    if verdict is Trust.TRUSTED:
        return
    shown = f"{key.kind} {key.fingerprint}"
    reason = {
        Trust.UNKNOWN: f"the host key is not known ({shown})",
        Trust.CHANGED: f"the host key HAS CHANGED: it is {shown}, {where} says otherwise; someone may be in between",
        Trust.REVOKED: f"the host key is revoked by {where} ({shown})",
    }[verdict]
    name = login.machine
    raise UntrustedHost(
        f"machine {name}: {login}: {reason}; nothing was sent. See it and, if it is right, accept it:\n"
        f"  wlmctl machine show {name}\n  wlmctl machine trust {name}"
    )


class _SharedJumps:
    """Connections to jump hosts: one for all that go through it, closed with its last user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._open: dict[tuple[str, ...], SshTransport] = {}

    def take(self, way: Sequence[Login], timeout_s: float) -> SshTransport:
        """The connection to the last hop of ``way``, opened where there is none that lives."""
        key = tuple(map(str, way))
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            transport = self._open.get(key)
            if transport is None or not transport.is_active():
                transport = self._open[key] = _connect(way[-1], way[:-1], timeout_s)
            transport.users += 1
            return transport

    def give_back(self, way: Sequence[Login], transport: SshTransport) -> None:
        """End one use of a connection that ``take`` gave."""
        key = tuple(map(str, way))
        with self._locks[key]:
            transport.users -= 1
            if transport.users:
                return
            if self._open.get(key) is transport:
                del self._open[key]
        transport.close()


_jumps = _SharedJumps()
