"""Ready tasks that no waiting will make fit their machine, or the counters: they fail, by name."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.orchestrator import ending
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.work import Work
from wlmctl.states import TaskState


def refuse(book: Book, works: Mapping[int, Work], fleet: Fleet, counters: Mapping[str, int]) -> bool:
    """Fail such tasks; True when there were any."""
    refused = False
    for work in works.values():
        for group in work.ready.values():
            reason = None
            if group.tasks:
                reason = _impossible(work, group, fleet) or _uncounted(group, counters)
            if reason is None:
                continue
            refused = True
            for idx in group.clear():
                book.move(work, idx, TaskState.FAILED, reason=reason, failure_class="user", ended=book.now_s)
            ending.failed_for_good(book, work)
    return refused


def _impossible(work: Work, group: ReadyGroup, fleet: Fleet) -> str | None:
    for role in group.roles:
        name = work.machine_of(group.tasks[0], role)
        if name is not None and name not in fleet:
            return f"machine {name} is not in the inventory any more"
    name = work.machine_of(group.tasks[0], group.roles[0]) if group.roles else None
    place = work.place_of(name) if name is not None else None
    if place is None or not group.needs_capacity or not fleet.is_known(place):
        return None
    machine, wanted = fleet.machine(place), group.resources
    for what, asked, there in (
        ("cpus", wanted.cpus, machine.cpus),
        ("bytes of memory", wanted.memory_bytes, machine.memory_bytes),
        ("gpus", wanted.gpus, machine.gpus),
    ):
        if there is not None and asked > there:
            return f"resources: asks for {asked} {what}, machine {name} has {there}"
    return None


def _uncounted(group: ReadyGroup, counters: Mapping[str, int]) -> str | None:
    for name, amount in group.counters:
        if name not in counters:
            return f"counter {name} is not in the configuration any more"
        if amount > counters[name]:
            return f"resources: asks for {amount} of counter {name}, there are {counters[name]}"
    return None
