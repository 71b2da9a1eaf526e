"""What ``machine test`` finds out about a machine, part by part: each is well, or says what to do."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wlmctl.batch import BatchSystem, FindsJobs, TellsCapacity
from wlmctl.connections import ConnectionPool
from wlmctl.errors import (
    Denied,
    LoginRefused,
    NoSuch,
    PluginError,
    TransportError,
    TurnedAway,
    Unreachable,
    UntrustedHost,
    WlmctlError,
)
from wlmctl.machine import Machine
from wlmctl.quantities import format_size
from wlmctl.text import counted
from wlmctl.transport import Digests, FileInfo, Runs, Space, Transport

if TYPE_CHECKING:
    from wlmctl.ssh.login import Login
    from wlmctl.ssh.transport import SshTransport

State = Literal["ok", "note", "problem", "unreachable", "skipped"]
ScratchOf = Callable[[Machine, Transport], str]

_LITTLE_SPACE_BYTES = 10 * 1024 * 1024
_LARGEST_OFFSET_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """How one part of a machine is; ``hint`` says what to do about a problem."""

    part: str
    state: State
    text: str
    hint: str = ""


def check_machine(machine: Machine, pool: ConnectionPool, scratch_of: ScratchOf) -> Iterator[Check]:
    """All parts, in the order in which they build on one another; ends at the first without which none can follow.

    ``scratch_of`` gives the absolute scratch folder. Writes one small file there and removes it.
    """
    tools: tuple[Check, ...] = ()
    if machine.host is not None and machine.transport != "openssh":  # which logs in as only ssh itself can
        try:
            with pool.permit(machine):
                for check in _way(machine):
                    yield check
                    if check.state == "unreachable":
                        return
                tools = tuple(_with_ssh(machine))
        except WlmctlError as error:
            yield failed("login", machine, error)
            return
        yield from tools
        if any(check.state == "unreachable" for check in tools):
            return
    try:
        with pool.lease(machine) as transport:
            yield from _with_transport(machine, transport, scratch_of)
    except WlmctlError as error:
        yield failed("transport", machine, error)


def _way(machine: Machine) -> Iterator[Check]:
    from wlmctl.ssh.connection import hops, scan_host_key
    from wlmctl.ssh.known_hosts import Trust

    try:
        way = hops(machine)
        yield Check("name", "ok", _names(way))
        login = way[-1]
        direct = not login.jump and not login.proxy_command
        if direct:
            yield _tcp(login)
        else:
            through = ", ".join(map(str, login.jump)) or f"ProxyCommand {login.proxy_command}"
            yield Check("tcp", "skipped", f"through {through}")
        for hop, host in enumerate(way):
            key, verdict = scan_host_key(machine, hop)
            shown = f"{host}: {key.kind} {key.fingerprint}"
            if verdict is not Trust.TRUSTED:
                hint = f"wlmctl machine show {machine.name}, and if that is right: wlmctl machine trust {machine.name}"
                yield Check("key", "unreachable", f"{shown}: {verdict.value}", hint)
                return
            yield Check("key", "ok", shown)
    except WlmctlError as error:
        part = "login" if isinstance(error, LoginRefused) else "tcp" if isinstance(error, Unreachable) else "name"
        yield failed(part, machine, error)


def _names(way: tuple[Login, ...]) -> str:
    import socket

    first = way[0]
    addresses = ""
    if not first.proxy_command:
        with suppress(OSError, UnicodeError):  # the TCP check says it better
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM)}
            addresses = f" ({', '.join(sorted(found))})"
    return " -> ".join(map(str, way)) + addresses


def _tcp(login: Login) -> Check:
    from wlmctl.ssh.socket_options import open_socket

    started = time.monotonic()
    open_socket(login.host, login.port, f"machine {login.machine}: {login}", 15.0).close()
    return Check("tcp", "ok", f"connected in {(time.monotonic() - started) * 1000:.1f} ms")


def _with_ssh(machine: Machine) -> Iterator[Check]:
    """What a connection of its own shows, whatever transport the machine uses."""
    from wlmctl.ssh.ahead import Ahead
    from wlmctl.ssh.connection import connect
    from wlmctl.ssh.survey import survey

    started = time.monotonic()
    with connect(machine) as ssh:
        ssh.ahead = Ahead(ssh)  # the host may allow one session at a time
        yield Check("login", "ok", f"{ssh.login}, in {(time.monotonic() - started) * 1000:.0f} ms")
        found, sftp = None, _sftp(machine, ssh)
        needs_shell = machine.shell != "none"
        try:
            found = survey(ssh)
        except TurnedAway as error:
            if sftp.state != "ok":  # as during a maintenance, or with a password that has expired
                yield failed("shell", machine, error)
                return
        if found is None:
            hint = 'say shell = "none" if it is meant to have none' if needs_shell else ""
            yield Check("shell", "problem" if needs_shell else "ok", "none: staging and files only", hint)
        else:
            unused = "" if needs_shell else '; not used, since shell = "none"'
            yield Check("shell", "ok", f"sh, home {found.home}{unused}")
        yield sftp
        if found is None or not found.has_scp:
            yield _unless_used(machine, "scp", "there is no scp program that could be run", "sftp")
        else:
            yield Check("scp", "ok", "there is one")


def _sftp(machine: Machine, ssh: SshTransport) -> Check:
    import paramiko

    try:
        channel = ssh.channel()
        channel.invoke_subsystem("sftp")
        with paramiko.SFTPClient(channel) as session:
            session.normalize(".")
    # SFTPError: what came is no SFTP, such as a notice of maintenance
    except (paramiko.SSHException, paramiko.SFTPError, OSError, EOFError) as error:
        return _unless_used(machine, "sftp", f"the host offers none ({error or 'no answer'})", "scp")
    return Check("sftp", "ok", "it answers")


def _unless_used(machine: Machine, part: str, text: str, other: str) -> Check:
    if machine.transport == part:
        return Check(part, "unreachable", text, f'set transport = "{other}"')
    return Check(part, "skipped", f"{text}; not used")


def _with_transport(machine: Machine, transport: Transport, scratch_of: ScratchOf) -> Iterator[Check]:
    scratch = scratch_of(machine, transport)
    yield from _writable(machine, transport, scratch)
    yield _space(transport, scratch)
    yield _batch(machine, transport)
    if not machine.is_local:
        yield _clock(transport)
        yield _round_trip(transport)


def _writable(machine: Machine, transport: Transport, scratch: str) -> Iterator[Check]:
    probe = f"{scratch}/.wlm-probe-{secrets.token_hex(6)}"
    try:
        transport.makedirs(scratch, 0o700)
        transport.write(probe, [b"probe"], FileInfo(probe, "file", 5, 0o600, time.time()))
        tool = transport.digest(probe) if isinstance(transport, Digests) else None
        transport.remove(probe)
    except TransportError as error:
        if machine.host is None and isinstance(
            error, Denied
        ):  # a store to read from: jobs and relative paths it has none
            yield Check("scratch", "skipped", str(error))
            return
        yield Check("scratch", "problem", str(error), f"set scratch to a folder that may be written, not {scratch}")
        return
    yield Check("scratch", "ok", f"{scratch} can be written")
    text = "the host computes it" if tool else "no tool there: copies are verified by reading them back"
    yield Check("sha256", "ok", text)


def _space(transport: Transport, scratch: str) -> Check:
    free_bytes = transport.free_bytes(scratch) if isinstance(transport, Space) else None
    if free_bytes is None:
        return Check("space", "skipped", "the host does not say how much is free")
    text = f"{format_size(free_bytes)} free"
    if free_bytes < _LITTLE_SPACE_BYTES:
        return Check("space", "problem", text, f"make room at {scratch}")
    return Check("space", "ok", text)


def _batch(machine: Machine, transport: Transport) -> Check:
    from wlmctl.plugins import batch_factory

    try:
        batch = batch_factory(machine.batch)(machine, machine.batch_options)
    except (PluginError, NoSuch) as error:
        return Check("batch", "problem", str(error), "set batch to one that is installed (wlmctl plugin list)")
    except WlmctlError as error:
        return Check("batch", "problem", str(error))
    if not isinstance(transport, Runs):
        return Check("batch", "skipped", f"{machine.batch}: without a shell the machine takes no jobs")
    if isinstance(batch, FindsJobs):
        command = batch.find()
        try:
            batch.found(transport.run(command.text, command.stdin, command.timeout_s))
        except Unreachable:
            raise
        except TransportError as error:
            return Check("batch", "problem", f"{machine.batch}: {error}", "try its commands there by hand")
    return Check("batch", "ok", f"{machine.batch}{_largest(batch, transport)}")


def _largest(batch: BatchSystem, transport: Runs) -> str:
    """What a job may ask for, where the batch system says it."""
    if not isinstance(batch, TellsCapacity):
        return ""
    command = batch.capacity()
    capacity = batch.told_capacity(transport.run(command.text, command.stdin, command.timeout_s))
    if capacity.cpus is None:
        return ", which does not say what its nodes have"
    memory = f", {format_size(capacity.memory_bytes)}" if capacity.memory_bytes else ""
    gpus = f", {counted(capacity.gpus, 'GPU')}" if capacity.gpus else ""
    return f", nodes of up to {counted(capacity.cpus, 'cpu')}{memory}{gpus}"


def _clock(transport: Transport) -> Check:
    if not isinstance(transport, Runs):
        return Check("clock", "skipped", "it cannot be asked without a shell")
    before = time.time()
    done = transport.run("date +%s", timeout_s=30)
    after = time.time()
    text = done.stdout.strip()
    if not text.isdigit():
        return Check("clock", "skipped", "the host does not say its time")
    # The answer is a whole second: that it lies between the two moments says that there is no offset.
    offset_s = max(before - 1 - int(text), int(text) - after, 0.0) * (1 if int(text) > after else -1)
    if abs(offset_s) > _LARGEST_OFFSET_S:
        return Check("clock", "problem", f"{offset_s:+.0f} s from this host's", "set one of the two (NTP)")
    return Check("clock", "ok", f"within {max(abs(offset_s), 1):.0f} s of this host's")


def _round_trip(transport: Transport) -> Check:
    times_s = []
    home = transport.home()
    for _ in range(5):
        started = time.monotonic()
        transport.stat(home)
        times_s.append(time.monotonic() - started)
    return Check("round trip", "ok", f"{statistics.median(times_s) * 1000:.1f} ms")


def failed(part: str, machine: Machine, error: WlmctlError) -> Check:
    """What an error says of a part, and what to do about it."""
    text = str(error).splitlines()[0].removeprefix(f"machine {machine.name}: ")
    if isinstance(error, UntrustedHost):
        hint = f"wlmctl machine show {machine.name}; wlmctl machine trust {machine.name}"
        return Check("key", "unreachable", text.partition("; nothing was sent")[0], hint)
    if isinstance(error, LoginRefused):
        is_person_wanted = "log in by hand" in text  # which the text says how to do: another key would not help
        hint = "" if is_person_wanted else "give the key: key = ..., ~/.ssh/config or the SSH agent"
        return Check("login", "unreachable", text, hint)
    if isinstance(error, TurnedAway):
        return Check(part, "unreachable", text, "see what the host wants: log in by hand")
    if isinstance(error, Unreachable):
        return Check(part, "unreachable", text, "check host, port and the network")
    return Check(part, "problem", text)
