"""Scheduling and dispatching: asking the scheduler, committing dispatches, sending their contexts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import StoreError, WlmctlError
from wlmctl.message import Outcome
from wlmctl.orchestrator import ending, impossible
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.capacity import Capacity
from wlmctl.orchestrator.checking import Checked, Placed
from wlmctl.orchestrator.contexts import Bound, bound, context
from wlmctl.orchestrator.counters import Counters
from wlmctl.orchestrator.ends import END_AGAIN_S
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.gate import Gate
from wlmctl.orchestrator.placing import Placement
from wlmctl.orchestrator.policy import Policy
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.registry import Member
from wlmctl.orchestrator.routing import Routing, places
from wlmctl.orchestrator.shares import Shares
from wlmctl.orchestrator.strangers import Strangers
from wlmctl.orchestrator.taken import Taken
from wlmctl.orchestrator.telling import Telling
from wlmctl.orchestrator.window import Loads, Window
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import Reservation, Scheduler
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import machines


class _Nonces:
    """Random texts that nobody can guess; the kernel is asked for many at once."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def next(self) -> str:
        """One more."""
        if not self._left:
            text = os.urandom(8 * 256).hex()
            self._left = [text[first : first + 16] for first in range(0, len(text), 16)]
        return self._left.pop()


@dataclass(frozen=True, slots=True)
class _Common:
    """What is the same for all tasks of a group that are on the same machines, in one look.

    ``queue`` is None where each goes its own way; ``together``: so many are one delivery.
    """

    site: str
    machine: str
    touches: tuple[str, ...]
    queue: str | None
    together: int


class Dispatcher:
    """Turns what is ready into dispatches, and sends again what has come to nothing."""

    def __init__(
        self,
        store_id: str,
        scheduler: Scheduler | Policy,
        name: str,
        fleet: Fleet,
        routing: Routing,
        counters: Counters | None = None,
    ) -> None:
        self._store_id = store_id
        self._policy = scheduler if isinstance(scheduler, Policy) else Policy(scheduler)
        self._fleet, self._routing = fleet, routing
        self._counters = counters or Counters({})
        self._telling = Telling(name)
        self.gate, self._shares = Gate(), Shares()
        #: Machines that are kept for tasks, as the last decision has it.
        self._reservations: Sequence[Reservation] = ()
        self.strangers = Strangers()
        self.window = Window()
        self._nonces = _Nonces()
        #: By group and own machine, for one look: the machines of its tasks, and what else all of them have.
        self._bound: dict[tuple[str, str | None], Bound] = {}
        self._common: dict[tuple[str, str | None], _Common] = {}

    def start_over(self) -> None:
        """The store has lost the last transaction: what was decided in it is decided and told again."""
        self.gate.reset()
        self._telling.start_over()

    def dispatch(self, book: Book, works: Mapping[int, Work], now: float) -> tuple[bool, set[str]]:
        """Assign and send what fits; (look again at once, places whose capacity must be known first)."""
        for work in works.values():
            work.ready.part()
            work.ready.forget_empty()
        if not any(work.ready for work in works.values() if work.state is ExperimentState.RUNNING):
            self.gate.reset()
            return False, set()
        mine = [active for work in works.values() for active in work.active.values()]
        taken = self._fleet.taken(book.db, mine, works, self.strangers.ended)
        views = {name: self._fleet.view(name, taken) for name in self._fleet.names()}
        loads = Loads.of(works, self._routing)
        capacity = Capacity(self._routing, loads, self.window, now)
        counters = self._counters.left(book.db, mine, works, self.strangers.ended)
        placement = Placement(list(works.values()), self._fleet, views, capacity, counters)
        shares = self._shares.look(book.db, book.now_s, list(works.values()))
        snapshot = placement.snapshot(book.now_s, shares, self._reservations)
        if impossible.refuse(book, works, self._fleet, self._counters.limits):
            return True, placement.unknown
        if self.gate.is_open(snapshot, capacity, now):
            checked = self._policy.decide(placement, snapshot, book.while_waiting)
            self.gate.decided(checked, now)
            self._reservations = checked.reservations
        else:
            checked = Checked(reasons={**self.gate.reasons(snapshot), **placement.open})
        for work, role, machine in checked.bindings:
            data_bytes = placement.data_bytes(work, role, machine)
            book.of(work).bind(role, machine, **({"data_bytes": data_bytes} if data_bytes else {}))
        self._bound.clear()
        self._common.clear()
        for item in checked.placed:
            if self._fleet.is_known(item.place) or not item.group.needs_capacity:
                self._assign(book, item, taken, capacity, len(checked.placed))
        for work in {work.seq: work for work, _, _ in checked.bindings}.values():
            work.ready.bound([role for each, role, _ in checked.bindings if each is work])
        self._telling.complain(book, works.values(), checked.complaints)
        self._telling.waiting(book, placement, checked.reasons, self._fleet, placement.unknown)
        return bool(checked.bindings), placement.unknown

    def _assign(self, book: Book, placed: Placed, taken: dict[str, Taken], capacity: Capacity, count: int) -> None:
        """Dispatch one of ``count`` tasks."""
        work, group, idx = placed.work, placed.group, placed.idx
        instance = work.instance(idx)
        of = group.key, work.own_machine(group, idx)
        common = self._common.get(of)
        if common is None:
            common = self._common[of] = _Common(
                self._fleet.site(placed.place),
                self._fleet.machine(placed.place).name,
                work.machines_of(idx, instance),
                self._routing.shared_queue(group.type, capacity.able(group.key, placed.places)),
                capacity.together(group.key, count),
            )
        site, machine = common.site, common.machine
        devices = self._fleet.free_devices(placed.place, group.resources.gpus, taken)
        if len(devices) < group.resources.gpus and not self._fleet.machine(placed.place).has_queue:
            return
        care = work.care.get(idx)
        # what is started together goes to one worker, as long as that does not decline it
        is_chosen = placed.is_chosen if capacity.company(group.key) is None else care is None
        queue = common.queue if care is None and not is_chosen else None
        if queue is None:
            queue = self._routing.queue(
                group.type, capacity.able(group.key, placed.places), care, placed.worker if is_chosen else None,
                lambda able: _one_of(able, placed.worker, capacity.loads, work.row.priority),
            )  # fmt: skip
        if queue is None:
            return
        if group.resources.cpus:
            taken.setdefault(site, Taken()).add(group.resources, devices)
        group.remove(idx)
        active = Active(
            idx, TaskState.ASSIGNED, work.attempt(idx), work.dispatches.get(idx, 0) + 1, self._nonces.next(),
            group.type, machine, site, common.touches, placed.place, group.resources, devices,
            timeout_s=instance.timeout_s, number=book.next_number(), queue=queue, likely=placed.worker,
            kills=care.kills if care is not None else 0, is_counted=group.needs_capacity, counters=group.counters,
            pack=capacity.pack(group.key),
        )  # fmt: skip
        work.dispatches[idx] = active.dispatch
        changes: dict[str, object] = {
            "attempt": active.attempt, "dispatch": active.dispatch, "nonce": active.nonce, "machine": machine,
            "reason": None,
        }  # fmt: skip
        if active.number:
            changes["sent"] = active.number
        if group.needs_capacity:
            changes |= {
                "cpus": group.resources.cpus,
                "memory_bytes": group.resources.memory_bytes,
                "gpus": group.resources.gpus,
                "devices": json.dumps(devices) if devices else None,
                "site": site,
            }
        if group.counters:
            changes["counters"] = json.dumps(dict(group.counters))
        book.move(work, idx, TaskState.ASSIGNED, **changes)
        work.active[idx] = active
        self._send(book, work, active, group, common.together if care is None else 1)
        for name in active.touches:  # written behind what ``_send`` reads, and so with all else
            if name not in work.touched:
                work.touched.add(name)
                machines.touched(book.db, work.seq, name)

    def _send(self, book: Book, work: Work, active: Active, group: ReadyGroup | None = None, together: int = 1) -> None:
        cancel = active.is_to_end
        try:
            to = self._to(work, active.idx, group) if group is not None else None
            message = context(book, work, active, self._fleet, self._store_id, cancel=cancel, to=to)
        except StoreError:  # says nothing about the task
            raise
        except WlmctlError as error:
            ending.fail(book, work, active, Outcome("failed", str(error), "user"), self._fleet)
            return
        active.sent, active.is_end = True, cancel
        work.unsent.discard(active.idx)
        work.unconfirmed.discard(active.idx)
        book.send(active.queue, message, work.row.priority, active.number, together=together)

    def _to(self, work: Work, idx: int, group: ReadyGroup) -> Bound:
        of = group.key, work.own_machine(group, idx)
        if (to := self._bound.get(of)) is None:
            to = self._bound[of] = bound(work, idx, group.roles, self._fleet)
        return to

    def send_again(self, book: Book, works: Mapping[int, Work], now: float) -> None:
        """Dispatches that no worker has: raised, and sent again once there is one and their machines answer.

        One of which an earlier leader does not know whether it has reached the broker goes out as it is.
        """
        for work in works.values():
            for idx in list(work.unconfirmed):
                active = work.active[idx]
                queue = self._queue(works, work, active) if not active.is_to_end else None
                if queue is None:
                    work.send_again(active, active.again)
                else:
                    active.queue = queue
                    self._send(book, work, active)
            for idx in list(work.unsent):
                active = work.active[idx]
                if any(name in self._fleet.held for name in active.touches):
                    continue
                if active.end_sent_s is not None and now < active.end_sent_s + END_AGAIN_S:
                    continue
                queue = self._queue(works, work, active)
                if queue is not None:
                    self._raise(book, work, active, queue)

    def _raise(self, book: Book, work: Work, active: Active, queue: str) -> None:
        """The next dispatch of the same attempt."""
        active.dispatch, active.is_raised = active.dispatch + 1, True
        work.dispatches[active.idx] = active.dispatch
        active.nonce, active.queue, active.number = self._nonces.next(), queue, book.next_number()
        active.end_sent_s = None
        changes: dict[str, Any] = {"dispatch": active.dispatch, "nonce": active.nonce}
        if active.number:
            changes["sent"] = active.number
        if active.state is TaskState.RUNNING and active.started_s is not None:
            changes["started"] = active.started_s = None  # its time-out counts from its new beginning
        book.of(work).task_fields(active.idx, "dispatch", active.again, **changes)
        active.again = None
        self._send(book, work, active)

    def _queue(self, works: Mapping[int, Work], work: Work, active: Active) -> str | None:
        """Where a dispatch that is under way already goes; None while there is no way."""
        where = places(work, active.touches)
        if where is None:
            return None
        labels = work.instance(active.idx).worker_labels
        able = self._routing.able(active.type, labels, where)
        if not able:
            return None
        chosen: list[Member] = []

        def choose(members: Sequence[Member]) -> Member:
            loads = Loads.of(works, self._routing)
            chosen.append(loads.likely(members, work.row.priority))
            return chosen[0]

        care, wanted = work.care.get(active.idx), None
        if care is None and not active.is_to_end and self._routing.company(active.type, where):
            wanted = next((member.id for member in able if member.id == self._routing.asked(where[0])), None)
        queue = self._routing.queue(active.type, able, care, wanted, choose)
        active.likely = wanted or (chosen or able)[0].id
        return queue


def _one_of(able: Sequence[Member], likely: str, loads: Loads, priority: int) -> Member:
    """The worker that was counted on, where it is among those that may have it; else the one with most free slots."""
    return next((member for member in able if member.id == likely), None) or loads.likely(able, priority)
