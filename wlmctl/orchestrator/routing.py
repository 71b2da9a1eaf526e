"""Who can do what: which workers a task may go to, through which queue, and whom to ask about a machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wlmctl import plugins
from wlmctl.machine import LOCAL
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.care import Care
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.work import Work
from wlmctl.queues import control_queue, type_queue, worker_queue
from wlmctl.store.rows import ExperimentRow

#: Seconds in which nothing is sent to a queue that was found missing: its consumer makes it again, or is gone.
AVOIDED_S = 0.5

#: Tasks of one type on one place, which are started together: by type and place.
Company = tuple[str, str]

#: The role under which is kept where an experiment's ``local`` is, when its submit named a worker, host or label.
LOCAL_ON = LOCAL


class Routing:
    """Chooses among the live workers."""

    def __init__(self, registry: Registry, fleet: Fleet, prefix: str) -> None:
        self.registry, self.fleet, self._prefix = registry, fleet, prefix
        #: The monotonic clock, as the leader's loop has read it last.
        self.now = 0.0
        self._asked: dict[str, str] = {}
        self._avoided: dict[str, float] = {}
        self._consumers: tuple[int, dict[str, list[Member]]] = (-1, {})

    def local_of(self, row: ExperimentRow, bindings: dict[str, str]) -> str | None:
        """The place that ``local`` is for an experiment; None while no worker is bound that ``local_on`` names."""
        if not self.registry.is_fleet:
            return LOCAL
        if row.local_on is None:
            return self.fleet.local(row.host, row.user, row.host_name)
        bound = bindings.get(LOCAL_ON)
        if bound is None:
            return None
        user, _, host = bound.rpartition("@")
        name = next((m.info.host_name for m in self.registry.members.values() if m.info.host == host), host)
        return self.fleet.local(host, user, name)

    def find_local(self, local_on: str) -> Member | None:
        """A worker that has this name, host name or label: where it is, ``local`` is to be."""
        found = [
            member
            for member in self.registry.taking()
            if local_on in (member.id, member.info.name, member.info.host_name, member.info.host, *member.info.labels)
            and any(place == LOCAL or place.startswith(f"{LOCAL}@") for place in member.places)
        ]
        return min(found, key=lambda member: member.id, default=None)

    def able(self, task_type: str, labels: Iterable[str], places: Sequence[str]) -> list[Member]:
        """The workers that take such tasks."""
        if self.registry.only is not None:
            only = self.registry.only
            return [only] if set(only.info.labels).issuperset(labels) else []
        return [
            member
            for member in self.consumers(task_type)
            if member.places.issuperset(places) and set(member.info.labels).issuperset(labels)
        ]

    def company(self, task_type: str, places: Sequence[str | None]) -> Company | None:
        """What tasks of this type on these places are started together with, where they are."""
        if len(places) != 1 or places[0] is None or places[0] not in self.fleet:
            return None
        return (task_type, places[0]) if plugins.gathers(task_type, self.fleet.machine(places[0])) else None

    def consumers(self, task_type: str) -> list[Member]:
        """The workers that consume the shared queue of a type."""
        version, known = self._consumers
        if version != self.registry.version:
            version, known = self._consumers = self.registry.version, {}
        found = known.get(task_type)
        if found is None:
            found = [member for member in self.registry.taking() if task_type in member.info.types]
            known[task_type] = found
        return found

    def queue(
        self,
        task_type: str,
        able: Sequence[Member],
        care: Care | None,
        wanted: str | None,
        choose: Callable[[Sequence[Member]], Member],
    ) -> str | None:
        """Where to send a task that these workers can do. None: there is no way just now.

        ``wanted``: to that worker; ``choose`` picks one where it must be the queue of one.
        """
        if self.registry.only is not None:
            return self.own_queue(self.registry.only.id)
        is_single = wanted is not None
        if care is not None and (care.is_single or care.kills > 1 or care.refused):
            is_single = True
            able = [member for member in able if member.id not in care.refused]
        if not is_single and len(able) == len(self.consumers(task_type)):
            shared = type_queue(self._prefix, task_type)
            return None if self._is_avoided(shared) else shared
        able = [
            member for member in able if wanted in (None, member.id) and not self._is_avoided(self.own_queue(member.id))
        ]
        return self.own_queue(choose(able).id) if able else None

    def shared_queue(self, task_type: str, able: Sequence[Member]) -> str | None:
        """The queue of all who can do the type, where they are all able; None where there is no way through it now."""
        if self.registry.only is not None or len(able) != len(self.consumers(task_type)):
            return None
        shared = type_queue(self._prefix, task_type)
        return None if self._is_avoided(shared) else shared

    def own_queue(self, worker: str) -> str:
        """The queue of one worker for dispatches."""
        return worker_queue(self._prefix, worker)

    def avoid(self, queue: str) -> None:
        """The queue is not there: nothing goes to it for a moment."""
        self._avoided[queue] = self.now + AVOIDED_S

    def avoids(self) -> float | None:
        """Until when some queue is avoided, on the monotonic clock."""
        return max((until for until in self._avoided.values() if until > self.now), default=None)

    def _is_avoided(self, queue: str) -> bool:
        until = self._avoided.get(queue)
        if until is None:
            return False
        if until > self.now:
            return True
        del self._avoided[queue]
        return False

    def worker_of(self, queue: str) -> str | None:
        """Whose control queue this is, of those that live."""
        return next((worker for worker in self.registry.members if self.control(worker) == queue), None)

    def control(self, worker: str) -> str:
        """The control queue of a worker."""
        return control_queue(self._prefix, worker)

    def asked(self, place: str) -> str | None:
        """Whom to ask about a place: the worker that was asked before, where it lives; None: nobody reaches it."""
        if self.registry.only is not None:
            return self.registry.only.id
        members = self.registry.members
        before = members.get(self._asked.get(place, ""))
        if before is not None and place in before.places and before.is_taking and self._hears(before):
            return before.id
        reach = [member for member in members.values() if place in member.places and self._hears(member)]
        if not reach:
            return None
        counts = dict.fromkeys((member.id for member in reach), 0)
        for worker in self._asked.values():
            if worker in counts:
                counts[worker] += 1
        chosen = min(reach, key=lambda member: (not member.is_taking, counts[member.id], member.id))
        self._asked[place] = chosen.id
        return chosen.id

    def _hears(self, member: Member) -> bool:
        return not (self._avoided and self._is_avoided(self.control(member.id)))

    def holders(self, active: Active) -> list[str]:
        """Who may have a dispatch: the worker that said so, else every live one."""
        members = self.registry.members
        if active.holder is not None and active.holder in members:
            return [active.holder]
        if self.registry.only is None:
            for worker in members:
                if active.queue == self.own_queue(worker):
                    return [worker]
        return list(members)

    def place_of_answer(self, worker: str, machine: str) -> str:
        """The place that a worker means by a machine's name."""
        member = self.registry.members.get(worker)
        if machine != LOCAL or member is None or not self.registry.is_fleet:
            return machine
        return self.fleet.local(member.info.host, member.info.user, member.info.host_name)


def places(work: Work, machines: Iterable[str | None]) -> tuple[str, ...] | None:
    """The places of these machines; None where one of them is still open."""
    found = [work.place_of(name) if name is not None else None for name in machines]
    return None if None in found else tuple(dict.fromkeys(place for place in found if place is not None))
