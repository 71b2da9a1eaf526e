"""What a machine has, what is taken of it and by whom: a job's room, the jobs a machine takes, its connections."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from wlmctl.host import host_id
from wlmctl.machine import LOCAL, Machine
from wlmctl.quantities import format_size
from wlmctl.runtime.explaining.facts import MOST_LISTED, MOST_NAMED, Findings, listed
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.text import counted

#: What a task may take of a machine, and a role require of it.
AMOUNTS = ("cpus", "memory_bytes", "gpus")


@dataclass(frozen=True, slots=True)
class Holder:
    """A task that takes room of the machine."""

    experiment: str
    task: str
    cpus: int
    memory_bytes: int
    gpus: int


def with_own_capacity(scene: Scene, machine: Machine) -> Machine:
    """The machine with what this host has, where it is this host and the inventory leaves that to it.

    What the inventory says of ``local`` is said of the leader's host; of that of others only they know what it has.
    """
    login = scene.local_login
    if machine.name != LOCAL or login is None:
        return machine
    if scene.is_fleet and scene.holder is not None and login[0] != scene.holder.process.host:
        machine = replace(machine, cpus=None, memory_bytes=None, gpus=None)
    if login[0] != host_id():
        return machine
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return replace(
        machine,
        cpus=machine.cpus if machine.cpus is not None else cpus,
        memory_bytes=machine.memory_bytes if machine.memory_bytes is not None else memory,
    )


def holders(scene: Scene, machine: str) -> list[Holder]:
    """The tasks of all experiments that take room of the machine: those of one login share what there is."""
    site = scene.login(machine)
    rows = scene.db.rows(
        "SELECT e.id, t.name, t.cpus, t.memory_bytes, t.gpus FROM tasks t JOIN experiments e ON e.seq = t.exp"
        " WHERE t.site IS NOT NULL AND t.cpus > 0 AND (t.site = ? OR (? <> 'local' AND t.site IN"
        " (SELECT site FROM tasks WHERE site IS NOT NULL AND machine = ?))) ORDER BY e.seq, t.idx",
        (site or "", machine, machine),
    )
    return [Holder(experiment, task, cpus, memory or 0, gpus or 0) for experiment, task, cpus, memory, gpus in rows]


def look(scene: Scene, found: Findings) -> None:
    """The task's machine has no room for it, or takes no more jobs."""
    name = scene.touched[0]
    if not scene.is_counted or scene.instance.resources.cpus == 0:
        return
    if name not in scene.machines:
        found.note("inventory", f"machine {name} is not in the inventory that is known here", machine=name)
        return
    machine, there = with_own_capacity(scene, scene.machines[name]), holders(scene, name)
    if machine.max_jobs is not None and len(there) >= machine.max_jobs:
        text = f"machine {name} takes {counted(machine.max_jobs, 'job')} at once, and has them: {_named(scene, there)}"
        found.cause("max_jobs", text, machine=name, max_jobs=machine.max_jobs, holders=_holders(there))
    if not machine.has_queue:
        _full(scene, found, machine, there)


def of_any(scene: Scene, found: Findings, names: Iterable[str]) -> None:
    """No machine that the role of the task's main work fits has room for it, as far as the inventory says."""
    if not scene.is_counted or scene.instance.resources.cpus == 0:
        return
    full = dict[str, str]()
    for name in names:
        machine, there = with_own_capacity(scene, scene.machines[name]), holders(scene, name)
        if machine.max_jobs is not None and len(there) >= machine.max_jobs:
            full[name] = f"has the {counted(machine.max_jobs, 'job')} that it takes"
            continue
        lacking, _ = _lacking(scene, machine, there)
        if machine.has_queue or not lacking:
            return
        full[name] = "; ".join(lacking)
    text = f"no machine that fits has room for it: {listed(f'{name}: {why}' for name, why in full.items())}"
    found.cause("capacity", text, machines=full)


def _full(scene: Scene, found: Findings, machine: Machine, there: list[Holder]) -> None:
    lacking, figures = _lacking(scene, machine, there)
    if lacking:
        text = f"machine {machine.name} has no room for it: {'; '.join(lacking)}; taken by {_named(scene, there)}"
        found.cause("capacity", text, machine=machine.name, **figures, holders=_holders(there))


def _lacking(scene: Scene, machine: Machine, there: list[Holder]) -> tuple[list[str], dict[str, int]]:
    """What the machine has too little of for the task, in words, and in figures."""
    asked, lacking, figures = scene.instance.resources, list[str](), dict[str, int]()
    for key in AMOUNTS:
        total, wanted = getattr(machine, key), getattr(asked, key)
        taken = sum(getattr(each, key) for each in there)
        if total is None or wanted == 0 or taken + wanted <= total:
            continue
        free = max(0, total - taken)
        if key == "memory_bytes":
            asks, left = f"{format_size(wanted)} of memory", f"{format_size(free)} of {format_size(total)}"
        else:
            asks, left = counted(wanted, key[:-1]), f"{free} of {total}"
        lacking.append(f"it asks for {asks}, {left} are free")
        figures |= {f"{key}_wanted": wanted, f"{key}_free": free, f"{key}_total": total}
    return lacking, figures


def _named(scene: Scene, there: list[Holder]) -> str:
    own = scene.row.id
    words = [each.task if each.experiment == own else f"{each.experiment} {each.task}" for each in there[:MOST_NAMED]]
    return listed(words, len(there))


def _holders(there: Iterable[Holder]) -> list[dict[str, object]]:
    return [{"experiment": each.experiment, "task": each.task, "cpus": each.cpus} for each in list(there)[:MOST_LISTED]]


def connections(scene: Scene, found: Findings) -> None:
    """A step cannot reach a machine while others have all of its connections, or have used up its commands."""
    for name in scene.touched:
        machine, login = scene.machines.get(name), scene.login(name)
        if machine is None or machine.is_local or login is None:
            continue
        for node in scene.logins(name):
            rows = scene.db.rows("SELECT worker, host, boot, pid FROM permits WHERE login = ?", (node,))
            if len(rows) < machine.max_connections:
                continue
            who = listed(dict.fromkeys(_who(scene, worker, pid) for worker, _, _, pid in rows))
            text = f"all {machine.max_connections} connections to {name} ({node}) are taken, by {who}"
            tell = found.note if any(_is_own(scene, row) for row in rows) else found.cause
            tell("connections", text, machine=name, max_connections=machine.max_connections, taken=len(rows))
    commands(scene, found)


def commands(scene: Scene, found: Findings, *, is_cause: bool = False) -> None:
    """Whoever starts, looks at or ends something on a machine waits where the last minute had all of its commands."""
    for name in scene.touched:
        machine, login = scene.machines.get(name), scene.login(name)
        if machine is not None and login is not None and machine.commands_per_minute is not None:
            sql = "SELECT count(*) FROM commands WHERE login = ? AND time >= ?"
            count = scene.db.row(sql, (login, scene.now_s - 60))[0]
            if count >= machine.commands_per_minute:
                text = f"{name} had the {machine.commands_per_minute} commands that it gets in a minute"
                (found.cause if is_cause else found.note)(
                    "commands", text, machine=name, commands_per_minute=machine.commands_per_minute
                )


def _is_own(scene: Scene, permit: tuple[str | None, str, str, int]) -> bool:
    """True where the worker of the task has the connection."""
    worker, host, boot, pid = permit
    if worker is not None:
        return worker == scene.task.worker
    holder = scene.holder
    return holder is not None and (holder.process.host, holder.process.boot, holder.process.pid) == (host, boot, pid)


def _who(scene: Scene, worker: str | None, pid: int) -> str:
    return scene.worker_name(worker) if worker is not None else f"process {pid}"
