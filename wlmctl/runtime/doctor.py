"""What ``wlmctl doctor`` checks: this installation, its settings, the store, and the way to the machines."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from wlmctl.config import Config
from wlmctl.errors import StoreError, WlmctlError
from wlmctl.quantities import format_duration, format_size

Level = Literal["ok", "note", "problem"]

_LIBRARIES = ("click", "msgspec", "paramiko", "pluggy", "PyYAML", "rich")
_LITTLE_SPACE_BYTES = 100 * 1024 * 1024
#: A clock that is this much behind what the store has already seen was set back.
_CLOCK_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do where it is a problem."""

    name: str
    level: Level
    text: str
    advice: str = ""


def examine(config: Config) -> list[Check]:
    """Every check that needs no connection to a machine."""
    checks: list[Callable[[Config], Iterator[Check]]] = [
        _python, _libraries, _configuration, _plugins, _store, _orchestrator, _clock, _agent, _machines,
    ]  # fmt: skip
    found: list[Check] = []
    for check in checks:
        try:
            found += check(config)
        except WlmctlError as error:
            found.append(Check(check.__name__.strip("_"), "problem", str(error)))
    return found


def _python(_: Config) -> Iterator[Check]:
    text = f"{platform.python_version()} at {sys.executable}, SQLite {sqlite3.sqlite_version}"
    yield Check("python", "ok", text)


def _libraries(_: Config) -> Iterator[Check]:
    found, missing = [], []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    yield Check("libraries", "ok", ", ".join(found))
    if missing:
        text = f"not installed: {', '.join(missing)}"
        yield Check("libraries", "problem", text, f"pip install {' '.join(missing)}")


def _configuration(config: Config) -> Iterator[Check]:
    yield Check("configuration", "ok", ", ".join(map(str, config.files)) or "no wlmctl.toml; defaults count")


def _plugins(_: Config) -> Iterator[Check]:
    from wlmctl.plugins import installed

    plugins = installed()
    usable = [plugin for plugin in plugins if plugin.error is None]
    yield Check("plugins", "ok", f"{len(usable)} usable: {', '.join(f'{p.kind}_{p.name}' for p in usable)}")
    for plugin in plugins:
        if plugin.error is not None:
            text = f"{plugin.kind}_{plugin.name} of {plugin.distribution} {plugin.version}: {plugin.error}"
            is_wanted_so = "WLMCTL_DISABLE_PLUGINS" in plugin.error and " is offered by " not in plugin.error
            yield Check("plugins", "note" if is_wanted_so else "problem", text)
    yield from ()


def _store(config: Config) -> Iterator[Check]:
    from wlmctl.store.database import Database, file_system, store_path

    path = store_path(config.store)
    kind = file_system(path) or "an unknown file system"
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            yield Check("store", "problem", f"{path} cannot be made: {above} is not writable", "choose another store")
            return
        yield Check("store", "ok", f"{path} will be made at its first use, on {kind}")
        return
    try:
        with Database(config.store, create=False) as db:
            version, journal = db.row("PRAGMA user_version")[0], db.row("PRAGMA journal_mode")[0]
            count = db.row("SELECT count(*) FROM experiments")[0]
    except StoreError as error:
        yield Check("store", "problem", str(error))
        return
    size = format_size(path.stat().st_size)
    yield Check("store", "ok", f"{path}, {size}, version {version}, journal {journal}, on {kind}; {count} experiments")
    if journal != "wal":
        yield Check("store", "problem", f"{path}: journal mode {journal}, expected wal", "copy it to a local disk")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Check("store", "problem", f"{path}: this user may not write it, or not its folder")
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < _LITTLE_SPACE_BYTES:
        yield Check("store", "problem", f"{path.parent}: only {format_size(free_bytes)} are free", "make room")


def _orchestrator(config: Config) -> Iterator[Check]:
    from wlmctl.store.database import Database, store_path
    from wlmctl.store.leases import ORCHESTRATOR, look
    from wlmctl.store.machines import holds

    if not store_path(config.store).exists():
        return
    with Database(config.store, create=False) as db:
        lease = look(db, ORCHESTRATOR)
        waiting = db.row("SELECT count(*) FROM experiments WHERE ended IS NULL AND origin != 'run'")[0]
        held = holds(db)
    if lease is not None and not _is_gone(lease.process):
        yield Check("orchestrator", "ok", f"process {lease.process.pid} leads")
    else:
        text = f"none is live; {waiting} submitted experiments wait for one"
        yield Check("orchestrator", "note", text, "wlmctl orchestrator" if waiting else "")
    for hold in held.values():
        since = format_duration(max(time.time() - hold.since_s, 0))
        yield Check("machines", "note", f"{hold.machine} is held for {since}: {hold.reason.partition(chr(10))[0]}")


def _is_gone(process: object) -> bool:
    from wlmctl.host import ProcessIdentity, is_gone

    return isinstance(process, ProcessIdentity) and is_gone(process)


def _clock(config: Config) -> Iterator[Check]:
    from wlmctl.store.database import Database, store_path

    latest = None
    if store_path(config.store).exists():
        with Database(config.store, create=False) as db:
            times = db.row("SELECT max(created), max(started), max(ended) FROM experiments")
            latest = max((time_s for time_s in times if time_s is not None), default=None)
    now = time.time()
    if latest is not None and latest - now > _CLOCK_SLACK_S:
        behind = format_duration(latest - now)
        yield Check("clock", "problem", f"it is {behind} behind the newest time in the store", "set the clock")
        return
    yield Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))


def _agent(_: Config) -> Iterator[Check]:
    socket_path = os.environ.get("SSH_AUTH_SOCK")
    if not socket_path:
        yield Check("ssh agent", "note", "none: SSH_AUTH_SOCK is not set; keys come from files")
        return
    import paramiko

    try:
        with socket.socket(socket.AF_UNIX) as probe:  # paramiko itself says nothing of an agent that is gone
            probe.connect(socket_path)
        agent = paramiko.Agent()
        count = len(agent.get_keys())
        agent.close()
    except (paramiko.SSHException, OSError) as error:
        text = f"SSH_AUTH_SOCK={socket_path} cannot be asked: {error}"
        yield Check("ssh agent", "problem", text, "start the agent again, or unset SSH_AUTH_SOCK")
        return
    yield Check("ssh agent", "ok", f"it holds {count} keys")


def _machines(config: Config) -> Iterator[Check]:
    """Each machine of the configuration: how it is logged in to, and whether its host key is known; no connection."""
    from wlmctl.plugins import names
    from wlmctl.ssh.connection import hops
    from wlmctl.ssh.known_hosts import known_kinds, read_known_hosts

    transports, batches = names("transport"), names("batch")
    for name, machine in config.machines.items():
        for kind, wanted, offered in (("transport", machine.transport, transports), ("batch", machine.batch, batches)):
            if wanted not in offered:
                text = f"{name}: {kind} {wanted!r} is not installed (installed: {', '.join(offered)})"
                yield Check("machines", "problem", text)
        if machine.is_local:
            continue
        try:
            way = hops(machine)
        except WlmctlError as error:
            yield Check("machines", "problem", str(error))
            continue
        unknown = [
            hop
            for hop in way
            if not known_kinds(read_known_hosts((*hop.user_known_hosts, *hop.global_known_hosts)), hop.known_names)
        ]
        if unknown:
            text = f"{name}: the host key of {unknown[0]} is not known"
            yield Check("machines", "problem", text, f"wlmctl machine show {name}, then wlmctl machine trust {name}")
        else:
            yield Check("machines", "ok", f"{name}: {way[-1]} by {machine.transport}, host key known")


def examine_machines(config: Config) -> Iterator[Check]:
    """Connect to each machine and test its parts, as ``machine test`` does."""
    from wlmctl.machine_check import check_machine
    from wlmctl.runtime.reach import connections
    from wlmctl.worker.places import resolve_scratch

    levels: dict[str, Level] = {"ok": "ok", "skipped": "note"}
    with connections(config) as pool:
        for name, machine in config.machines.items():
            for part in check_machine(machine, pool, resolve_scratch):
                text = f"{name}: {part.part}: {part.text}"
                yield Check("machines", levels.get(part.state, "problem"), text, part.hint)
