"""Scheduling and dispatching: asking the scheduler, committing dispatches, sending their contexts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from wlmctl import plugins
from wlmctl.errors import WlmctlError
from wlmctl.message import Outcome
from wlmctl.orchestrator import ending
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.checking import Checked, Complaint, Placed
from wlmctl.orchestrator.contexts import context
from wlmctl.orchestrator.deferred import END_AGAIN_S
from wlmctl.orchestrator.fleet import Fleet, Taken
from wlmctl.orchestrator.placing import Placement
from wlmctl.orchestrator.strangers import Strangers
from wlmctl.orchestrator.telling import Telling
from wlmctl.orchestrator.work import ReadyGroup, Work
from wlmctl.scheduler import Scheduler, Snapshot, WorkerView
from wlmctl.states import TaskState
from wlmctl.store import machines


class Dispatcher:
    """Turns what is ready into dispatches. ``worker`` is the view of the one worker of this process."""

    def __init__(self, store_id: str, scheduler: Scheduler, name: str, fleet: Fleet, worker: str, slots: int) -> None:
        self._store_id, self._scheduler = store_id, scheduler
        self._fleet, self._worker, self._slots = fleet, worker, slots
        self._telling = Telling(name)
        self.strangers = Strangers()

    def dispatch(self, book: Book, works: Mapping[int, Work]) -> tuple[bool, set[str]]:
        """Assign and send what fits; (look again at once, machines whose capacity must be known first)."""
        mine = [active for work in works.values() for active in work.active.values()]
        taken = self._fleet.taken(book.db, mine, works, self.strangers.ended)
        views = {name: self._fleet.view(name, taken) for name in self._fleet.names()}
        busy = sum(1 for active in mine if active.handle is None)
        worker = WorkerView(
            self._worker,
            frozenset(group.type for work in works.values() for group in work.ready.values()),
            frozenset(self._fleet.names()),
            max(0, 2 * self._slots - busy),
        )
        placement = Placement(list(works.values()), self._fleet, views, worker)
        snapshot = placement.snapshot(book.now_s)
        if not placement.has_ready():
            return False, set()
        refused = self._refuse_impossible(book, works)
        if refused:
            return True, placement.unknown
        checked = self._ask(placement, snapshot)
        for work, role, machine in checked.bindings:
            book.of(work).bind(role, machine)
        for item in checked.placed:
            if self._fleet.is_known(item.machine) or not item.group.needs_capacity:
                self._assign(book, item, taken)
        self._telling.complain(book, works.values(), checked.complaints)
        self._telling.waiting(book, placement, checked.reasons, self._fleet, placement.unknown)
        return bool(checked.bindings), placement.unknown

    def _ask(self, placement: Placement, snapshot: Snapshot) -> Checked:
        """The scheduler's decision; where it throws, or nothing of what it wants is legal, fifo decides instead."""
        try:
            checked = placement.ask(self._scheduler, snapshot)
        except Exception as error:  # a policy may throw anything
            checked = Checked(complaints=[Complaint(type(error).__name__, f"{type(error).__name__}: {error}")])
        if checked.complaints and not (checked.placed or checked.bindings):
            complaints = [Complaint(each.kind, f"{each.text}; fifo decides instead") for each in checked.complaints]
            checked = placement.ask(plugins.scheduler_factory("fifo")({}), snapshot)
            checked.complaints = complaints
        return checked

    def _assign(self, book: Book, placed: Placed, taken: dict[str, Taken]) -> None:
        work, group, idx = placed.work, placed.group, placed.idx
        site = self._fleet.site(placed.machine)
        devices = self._fleet.free_devices(placed.machine, group.resources.gpus, taken)
        if len(devices) < group.resources.gpus:
            return
        taken.setdefault(site, Taken()).add(group.resources, devices)
        group.tasks.remove(idx)
        instance = work.instance(idx)
        row = book.db.row("SELECT dispatch FROM tasks WHERE exp = ? AND idx = ?", (work.seq, idx))
        active = Active(
            idx, TaskState.ASSIGNED, work.attempt(idx), row[0] + 1, secrets.token_hex(8), group.type, placed.machine,
            site, work.machines_of(idx, instance), group.resources, devices, timeout_s=instance.timeout_s,
        )  # fmt: skip
        taking: dict[str, object] = {}
        if group.needs_capacity:
            taking = {
                "cpus": group.resources.cpus,
                "memory_bytes": group.resources.memory_bytes,
                "gpus": group.resources.gpus,
                "devices": json.dumps(devices) if devices else None,
                "site": site,
            }
        book.move(
            work, idx, TaskState.ASSIGNED, attempt=active.attempt, dispatch=active.dispatch, nonce=active.nonce,
            machine=placed.machine, reason=None, **taking,
        )  # fmt: skip
        work.active[idx] = active
        for name in active.touches:
            machines.touched(book.db, work.seq, name)
        self._send(book, work, active)

    def _send(self, book: Book, work: Work, active: Active) -> None:
        cancel = active.state is TaskState.CANCELLING
        try:
            message = context(book.db, work, active, self._fleet, self._store_id, cancel=cancel)
        except WlmctlError as error:
            ending.fail(book, work, active, Outcome("failed", str(error), "user"))
            return
        active.sent = True
        book.send(message)

    def send_again(self, book: Book, works: Mapping[int, Work], now: float) -> None:
        """Dispatches that no worker of this life has: raised, and sent again once their machines answer."""
        for work in works.values():
            for active in work.unsent():
                if any(name in self._fleet.held for name in active.touches):
                    continue
                if active.end_sent_s is not None and now < active.end_sent_s + END_AGAIN_S:
                    continue
                active.dispatch += 1
                active.nonce = secrets.token_hex(8)
                active.end_sent_s = None
                changes: dict[str, Any] = {"dispatch": active.dispatch, "nonce": active.nonce}
                if active.state is TaskState.RUNNING and active.started_s is not None:
                    changes["started"] = active.started_s = None  # its time-out counts from its new beginning
                book.of(work).task_fields(active.idx, "dispatch", **changes)
                self._send(book, work, active)

    def _refuse_impossible(self, book: Book, works: Mapping[int, Work]) -> bool:
        """Fail, by name, ready tasks that no waiting will make fit their machine."""
        refused = False
        for work in works.values():
            for group in work.ready.values():
                reason = self._impossible(work, group) if group.tasks else None
                if reason is None:
                    continue
                refused = True
                for idx in group.tasks:
                    book.move(work, idx, TaskState.FAILED, reason=reason, failure_class="user", ended=book.now_s)
                group.tasks.clear()
                ending.failed_for_good(book, work)
        return refused

    def _impossible(self, work: Work, group: ReadyGroup) -> str | None:
        for role in group.roles:
            name = work.machine_of(group.tasks[0], role)
            if name is not None and name not in self._fleet:
                return f"machine {name} is not in the inventory any more"
        name = work.machine_of(group.tasks[0], group.roles[0]) if group.roles else None
        if name is None or not group.needs_capacity or not self._fleet.is_known(name):
            return None
        machine, wanted = self._fleet.machine(name), group.resources
        for what, asked, there in (
            ("cpus", wanted.cpus, machine.cpus),
            ("bytes of memory", wanted.memory_bytes, machine.memory_bytes),
            ("gpus", wanted.gpus, machine.gpus),
        ):
            if there is not None and asked > there:
                return f"resources: asks for {asked} {what}, machine {name} has {there}"
        return None
