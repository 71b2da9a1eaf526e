"""How much may be in the broker: what waits in the store can still be overtaken, cancelled and altered.

In the broker is what the free slots can take, and what the fleet finishes in a moment at the rate of that task type of
that experiment. Slots count as free for a task when what is to execute there has a lower priority: it overtakes that.
What is started together takes one slot, however many it is: a bunch of it is sent ahead.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from wlmctl.batch import MANY
from wlmctl.orchestrator.registry import Member
from wlmctl.orchestrator.routing import Company, Routing
from wlmctl.orchestrator.work import Work
from wlmctl.plugins import moves_data

#: Tasks are sent ahead by what was finished in so many seconds.
SPAN_S = 0.2

#: The most of what is started together that is under way to a start: so long it cannot be overtaken.
BUNCH = 100

#: Priorities of experiments are below this.
LEVELS = 10


class Window:
    """What was finished lately, by experiment and task type."""

    def __init__(self) -> None:
        #: By experiment and type: of each template, when how many have ended.
        self._finished: dict[tuple[int, str], dict[int, deque[list[float]]]] = {}

    def finished(self, exp: int, task_type: str, template: int, now: float) -> None:
        """One dispatch has ended."""
        ends = self._finished.setdefault((exp, task_type), {}).setdefault(template, deque())
        if ends and ends[-1][0] == now:
            ends[-1][1] += 1
        else:
            ends.append([now, 1])

    def ahead(self, exp: int, task_type: str, now: float) -> int:
        """How many of the type may be sent beyond the free slots."""
        known = self._finished.get((exp, task_type))
        if known is None:
            return 0
        for template, ends in list(known.items()):
            while ends and ends[0][0] < now - SPAN_S:
                ends.popleft()
            if not ends:
                del known[template]
        if not known:
            del self._finished[exp, task_type]
        return int(sum(count for ends in known.values() for _, count in ends))

    def of_template(self, exp: int, task_type: str, template: int) -> int:
        """How many of the template were finished in the span of the last look at its type."""
        return int(sum(count for _, count in self._finished.get((exp, task_type), {}).get(template, ())))


class Loads:
    """What each worker has, or is likely to get, by priority."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        #: By worker: how many have each priority or a higher one.
        self._counts: dict[str, list[int]] = {worker: [0] * LEVELS for worker in members}
        #: By worker: how many move data, of any priority.
        self._moving = dict.fromkeys(members, 0)
        #: By worker: of which companies it has some, each in one slot.
        self._companies: dict[str, set[Company]] = {worker: set() for worker in members}
        #: By company: how many have each priority or a higher one.
        self._gathered: dict[Company, list[int]] = {}

    @classmethod
    def of(cls, works: Mapping[int, Work], routing: Routing) -> Loads:
        """The loads as the dispatches under way make them."""
        members = routing.registry.members
        loads, kinds = cls(members), dict[tuple[str, str | None, bool], tuple[Company | None, bool]]()
        for work in works.values():
            under_way = [a for a in work.active.values() if a.handle is None]
            here = Counter([(a.holder or a.likely or "", (a.type, a.place, a.is_end)) for a in under_way])
            for (worker, kind), count in here.items():
                if worker not in members:
                    continue
                if kind not in kinds:
                    name, place, is_end = kind
                    kinds[kind] = None if is_end else routing.company(name, [place]), moves_data(name)
                company, moves = kinds[kind]
                loads.add(worker, work.row.priority, count, moves=moves, company=company)
        return loads

    def copy(self) -> Loads:
        """Loads that grow on their own."""
        other = Loads({})
        other._counts = {worker: list(counts) for worker, counts in self._counts.items()}
        other._moving = dict(self._moving)
        other._companies = {worker: set(companies) for worker, companies in self._companies.items()}
        other._gathered = {company: list(counts) for company, counts in self._gathered.items()}
        return other

    def add(
        self, worker: str, priority: int, count: int = 1, *, moves: bool = False, company: Company | None = None
    ) -> None:
        """So many more go, most likely, to this worker."""
        if company is not None:
            _raise(self._gathered.setdefault(company, [0] * LEVELS), priority, count)
            if company in self._companies[worker]:
                return
            self._companies[worker].add(company)
            count = 1
        self._moving[worker] += count if moves else 0
        _raise(self._counts[worker], priority, count)

    def total(self) -> dict[str, int]:
        """How many each worker has."""
        return {worker: counts[0] for worker, counts in self._counts.items()}

    def free(self, member: Member, priority: int, *, moves: bool = False) -> int:
        """The worker's slots that are free for this priority; negative: so many wait there.

        Its last one is not free for what moves data.
        """
        left = member.info.slots - self._counts[member.id][_level(priority)]
        return min(left, self.room_to_move(member)) if moves else left

    def room_to_move(self, member: Member, beside: int = 0) -> int:
        """How many more that move data the worker may get; ``beside``: so many that wait for each that executes."""
        slots = member.info.slots
        return (1 + beside) * max(1, slots - 1) - self._moving[member.id]

    def allowance(self, able: Sequence[Member], priority: int, ahead: int, *, moves: bool = False) -> int:
        """How many more tasks of one kind may be sent, if these workers can do them."""
        free = waiting = 0
        for member in able:
            left = self.free(member, priority, moves=moves)
            if left > 0:
                free += left
            else:
                waiting -= left
        return free + max(0, ahead - waiting)

    def room(self, company: Company, able: Sequence[Member], priority: int, *, pack: int = 1, beside: int = 0) -> int:
        """How many more of a company may be sent, if these workers can do them: whole packs, where they are packed.

        ``beside``: so many wait for each slot.
        """
        counts = self._gathered.get(company)
        left = min(MANY, max(BUNCH // pack, 1) * pack) - (counts[_level(priority)] if counts is not None else 0)
        if not any(self._takes(member, company, priority, beside) for member in able):
            return 0
        return max(0, left - left % pack)

    def _takes(self, member: Member, company: Company, priority: int, beside: int = 0) -> bool:
        """True for a worker that has some of the company already, or a slot for it."""
        return company in self._companies[member.id] or self.free(member, priority) + beside * member.info.slots > 0

    def leading(self, company: Company, able: Sequence[Member], priority: int, asked: str | None) -> Member:
        """Which of the workers will get the next one of a company: ``asked``, which asks the machine for all its jobs,
        unless it is busy; so that few log in there."""
        free = [member for member in able if self._takes(member, company, priority)]
        return next((m for m in free if m.id == asked), None) or self.likely(free or able, priority)

    def likely(self, able: Sequence[Member], priority: int) -> Member:
        """Which of the workers will get the next one."""
        if len(able) == 1:
            return able[0]
        level, counts = _level(priority), self._counts
        return max(able, key=lambda member: member.info.slots - counts[member.id][level])


def _raise(counts: list[int], priority: int, count: int) -> None:
    for level in range(_level(priority) + 1):
        counts[level] += count


def _level(priority: int) -> int:
    return priority if 0 <= priority < LEVELS else min(max(priority, 0), LEVELS - 1)
