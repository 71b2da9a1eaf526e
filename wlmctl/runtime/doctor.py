"""What ``wlmctl doctor`` checks: this installation, its settings, the store, and the way to the machines."""

from __future__ import annotations

import os
import platform
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from wlmctl.config import Config
from wlmctl.errors import WlmctlError
from wlmctl.runtime.doctor_check import Check, Level

_LIBRARIES = ("click", "msgspec", "paramiko", "pika", "pluggy", "PyYAML", "rich")


def examine(config: Config) -> list[Check]:
    """Every check that needs no connection to a machine."""
    checks: list[Callable[[Config], Iterator[Check]]] = [
        _python, _libraries, _configuration, _permissions, _plugins, _store, _broker, _agent, _machines,
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


def _permissions(config: Config) -> Iterator[Check]:
    from wlmctl.runtime.doctor_files import check_files

    yield from check_files(config)


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
    from wlmctl.runtime.doctor_store import check_store

    yield from check_store(config)


def _broker(config: Config) -> Iterator[Check]:
    from wlmctl.runtime.doctor_broker import check_broker, check_closures, check_workers

    yield from check_broker(config)
    yield from check_closures(config)
    yield from check_workers(config)


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
        if machine.host is None:
            continue
        try:
            way = list(dict.fromkeys(hop for node in machine.nodes for hop in hops(node)))
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

    levels: dict[str, Level] = {"ok": "ok", "note": "note", "skipped": "note"}
    with connections(config) as pool:
        for name, node in [(name, node) for name, machine in config.machines.items() for node in machine.nodes]:
            for part in check_machine(node, pool, resolve_scratch):
                text = f"{name}: {part.part}: {part.text}"
                yield Check("machines", levels.get(part.state, "problem"), text, part.hint)
