"""What the core would refuse in a scheduler's decision, found by counting alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from wlmctl.machine import Machine
from wlmctl.role_classes import apart
from wlmctl.scheduler import Assignment, Decision, Group, MachineView, Snapshot, WorkerView


def able(worker: WorkerView, group: Group, machine: str | None) -> bool:
    """Whether the worker can do the group's tasks with their main work on ``machine``."""
    touched = {*group.touches, *([machine] if machine else [])}
    return group.type in worker.types and touched <= worker.machines and set(group.worker_labels) <= worker.labels


def problems(snapshot: Snapshot, decision: Decision) -> list[str]:
    """Everything in the decision that may not be acted on, as sentences; an empty list for a good one."""
    snapshot = apart(snapshot).snapshot
    return [
        *_wrong_bindings(snapshot, decision),
        *_wrong_assignments(snapshot, decision),
        *_beyond_workers(snapshot, decision),
        *_beyond_machines(snapshot, decision),
        *_beyond_caps(snapshot, decision),
        *_beyond_counters(snapshot, decision),
    ]


def _groups(snapshot: Snapshot) -> dict[str, Group]:
    return dict(snapshot.tasks())


def _valid(snapshot: Snapshot, decision: Decision) -> Iterator[tuple[Assignment, Group]]:
    groups = _groups(snapshot)
    return ((item, groups[item.task]) for item in decision.assignments if item.task in groups)


def _wrong_bindings(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    roles = {(role.experiment, role.role): role for role in snapshot.roles}
    for binding in decision.bindings:
        role, view = roles.pop((binding.experiment, binding.role), None), snapshot.machines.get(binding.machine)
        if role is None:
            yield f"{binding} is for no unbound role, or a second one for it"
        elif view is None:
            yield f"{binding} names a machine that is not there"
        else:
            if misfit := role.requires.misfit(_seen(view)):
                yield f"{binding}: the machine {misfit}"


def _wrong_assignments(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    groups, bound = _groups(snapshot), {(b.experiment, b.role): b.machine for b in decision.bindings}
    for task, count in Counter(item.task for item in decision.assignments).items():
        if task not in groups:
            yield f"{task} is no ready task"
        if count > 1:
            yield f"{task} is assigned {count} times"
    for item, group in _valid(snapshot, decision):
        if group.anywhere is not None:
            yield from _wrong_choice(snapshot, item, group)
            continue
        expected = bound.get((group.experiment, group.unbound)) if group.unbound else group.machine
        if group.unbound and expected is None:
            yield f"{item.task} is assigned while its role {group.unbound} has no machine"
        elif item.machine != expected:
            yield f"{item.task} is assigned to {item.machine}, its machine is {expected}"
        for name in {*group.touches, *([item.machine] if item.machine else [])}:
            view = snapshot.machines.get(name)
            if view is not None and view.held:
                yield f"{item.task} touches {name}, which is held"


def _wrong_choice(snapshot: Snapshot, item: Assignment, group: Group) -> Iterator[str]:
    """What is wrong with the machines that were chosen for a task that may go anywhere; none leaves it to the core."""
    chosen = [name for name in (item.machine, *item.more) if name is not None]
    if len(set(chosen)) < len(chosen) or len(chosen) > group.resources.nodes:
        yield f"{item.task} is assigned to {', '.join(chosen)}, it takes {group.resources.nodes} machines"
    for name in chosen:
        view = snapshot.machines.get(name)
        if view is None or view.held:
            yield f"{item.task} is assigned to {name}, which is held or not there"
        elif group.anywhere is not None and (misfit := group.anywhere.misfit(_seen(view))):
            yield f"{item.task} is assigned to {name}, which {misfit}"


def _seen(view: MachineView) -> Machine:
    return Machine(view.name, labels=view.labels, cpus=view.cpus, memory_bytes=view.memory_bytes, gpus=view.gpus)


def _beyond_workers(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    workers = {worker.id: worker for worker in snapshot.workers}
    free = Counter({worker.id: worker.free_slots for worker in snapshot.workers})
    anywhere = []
    for item, group in _valid(snapshot, decision):
        if item.worker is None:
            anywhere.append([w.id for w in snapshot.workers if able(w, group, item.machine)])
        elif item.worker not in workers:
            yield f"{item.task} is assigned to {item.worker}, which is no live worker"
        else:
            free[item.worker] -= 1
            if not able(workers[item.worker], group, item.machine):
                yield f"{item.task} is assigned to {item.worker}, which cannot do it"
    for name, left in free.items():
        if left < 0:
            yield f"{name} is given {-left} tasks more than it has free slots"
    if unplaced := _unmatched(anywhere, free):
        yield f"{unplaced} of {len(anywhere)} tasks for any worker find no free slot of an able one"


def _unmatched(choices: list[list[str]], free: Counter[str]) -> int:
    """How many of the tasks, each with its able workers, stay without a slot in the best distribution."""
    held: dict[str, list[int]] = {name: [] for name in free}

    def place(task: int, tried: set[str]) -> bool:
        for name in choices[task]:
            if name in tried:
                continue
            tried.add(name)
            if len(held[name]) < free[name]:
                held[name].append(task)
                return True
            for position, other in enumerate(held[name]):
                if place(other, tried):
                    held[name][position] = task
                    return True
        return False

    return sum(not place(task, set()) for task in range(len(choices)))


def _beyond_machines(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    placed: dict[str, list[Group]] = {}
    for item, group in _valid(snapshot, decision):
        for machine in (item.machine, *item.more):
            if machine in snapshot.machines:
                placed.setdefault(str(machine), []).append(group)
    for name, groups in placed.items():
        view, jobs = snapshot.machines[name], [group for group in groups if group.type == "job"]
        if view.jobs_left is not None and len(jobs) > view.jobs_left:
            yield f"{len(jobs)} jobs for {name}, which takes {view.jobs_left} more"
        yield from _beyond_capacity(view, groups)


def _beyond_capacity(view: MachineView, groups: Iterable[Group]) -> Iterator[str]:
    asked = [group.resources for group in groups]
    for kind in ("cpus", "memory_bytes", "gpus"):
        wanted = [getattr(resources, kind) for resources in asked]
        whole, free = getattr(view, kind), getattr(view, f"free_{kind}")
        if view.queueing and whole is not None and max(wanted) > whole:
            yield f"a task asks for {max(wanted)} {kind} on {view.name}, whose largest node has {whole}"
        if not view.queueing and free is not None and sum(wanted) > free:
            yield f"tasks with {sum(wanted)} {kind} for {view.name}, which has {free} free"


def _beyond_caps(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    started = Counter(group.experiment for _, group in _valid(snapshot, decision))
    for group in snapshot.groups:
        if group.may_start is not None and started[group.experiment] > group.may_start:
            yield f"{started.pop(group.experiment)} tasks of {group.experiment}, which may start {group.may_start}"


def _beyond_counters(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    taken = Counter[str]()
    for _, group in _valid(snapshot, decision):
        taken.update(dict(group.counters))
    for name, amount in taken.items():
        if amount > snapshot.counters.get(name, 0):
            yield f"{amount} of counter {name} are taken, {snapshot.counters.get(name, 0)} are left"
