"""One experiment in the orchestrator's memory: its graph, its tasks' states, what is ready and what is under way."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from collections.abc import Mapping
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wlmctl import plugins
from wlmctl.experiment import Instances, from_document
from wlmctl.experiment.model import Experiment, Instance
from wlmctl.experiment.names import instance_name
from wlmctl.machine import LOCAL
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.care import Care
from wlmctl.orchestrator.grouping import Groups
from wlmctl.orchestrator.loading import load
from wlmctl.orchestrator.locality import Locality
from wlmctl.orchestrator.needs import Needs
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.role_needs import RoleNeeds
from wlmctl.scheduler import Binding
from wlmctl.states import FINAL, ExperimentState, TaskState
from wlmctl.store import Database, experiments
from wlmctl.store.rows import ExperimentRow
from wlmctl.task import Defers

if TYPE_CHECKING:
    from wlmctl.orchestrator.open_roles import Shown


class Work:
    """The experiment as this orchestrator knows it; the store stays the truth, this is only its shadow."""

    def __init__(self, db: Database, row: ExperimentRow, *, local: str | None = LOCAL, upto: int | None = None) -> None:
        """``local`` is the place that ``local`` is, None while that is open. ``upto``: dispatches with a higher running
        number may not have reached the broker; None: none of them has reached a broker that is still there."""
        self.row = row
        self.local = local
        self.seq = row.seq
        self.state = ExperimentState(row.state)
        self.experiment: Experiment = from_document(experiments.document(db, row.seq))
        self.templates = self.experiment.templates
        self.instances = [Instances(template, plugins.task_type, Path(row.folder)) for template in self.templates]
        types = {template.type for template in self.templates}
        defers = {name: isinstance(plugins.task_type(name), Defers) for name in types}
        self.defers = [defers[template.type] for template in self.templates]
        *self.first, count = accumulate((len(template.rows) for template in self.templates), initial=0)
        self._near = (0, 0, 0)  # the template that was asked for last, its first task, and the one behind its last
        self.role_needs = RoleNeeds(self.experiment, self.instances, self.defers)
        self.locality = Locality(self.experiment, self.instances)
        self.states: list[TaskState] = [TaskState.WAITING] * count
        self.needs = Needs(self.templates)
        self.bindings = experiments.bindings(db, row.seq)
        #: How many bindings there were when they were shown last, and these.
        self._shown: tuple[int, tuple[Binding, ...]] = 0, ()
        #: The classes of open roles as they were shown last, by role and by the number of their needs.
        self.shown_classes: Mapping[tuple[str, int], Shown] = {}
        self.active: dict[int, Active] = {}
        self.attempts: dict[int, int] = {}
        self.ready = Groups(self)
        #: Active tasks that are to be handed out again under a new dispatch, and under the one they have.
        self.unsent: set[int] = set()
        self.unconfirmed: set[int] = set()
        #: Tasks that were dispatched before: the number of the last dispatch.
        self.dispatches: dict[int, int] = {}
        #: What tasks ask for otherwise than the file says, since a retry has changed it.
        self.asked: dict[int, dict[str, Any]] = {}
        #: What is to be minded with the next dispatches of a task.
        self.care: dict[int, Care] = {}
        self.due: list[tuple[float, int]] = []
        self.delayed: set[int] = set()
        self.look_at: deque[int] = deque()
        self.failed_for_good = self.ended = 0
        #: True once a failure has stopped what is not under way (``on_failure: stop``).
        self.stopping = bool(row.stopping)
        #: Machines of which the store knows that the experiment has a folder there.
        self.touched: set[str] = set()
        #: Machines of which the event log says that they are held.
        self.told_held: set[str] = set()
        self.files: dict[str, bytes] | None = None
        load(self, db, upto)

    def keep(self, older: Work) -> None:
        """Take over what ``older``, the same experiment before it was read again, knew beyond the store."""
        self.told_held = older.told_held
        for idx, known in older.active.items():
            now = self.active.get(idx)
            if now is not None and (now.attempt, now.dispatch) == (known.attempt, known.dispatch):
                now.follow(known)
                for mine, theirs in ((self.unsent, older.unsent), (self.unconfirmed, older.unconfirmed)):
                    (mine.add if idx in theirs and now.handle is None else mine.discard)(idx)
        self.care |= {idx: care for idx, care in older.care.items() if self.states[idx] not in FINAL}

    def place_of(self, machine: str) -> str | None:
        """The place that a machine's name means in this experiment; None while ``local`` is open."""
        return self.local if machine == LOCAL else machine

    def send_again(self, active: Active, reason: str | None = None) -> None:
        """The dispatch is over without a result: the task is handed out once more, under the next number."""
        active.sent = active.is_begun = False
        active.holder = active.seen_s = active.leased_until_s = None
        active.again, active.end_sent_s = reason, None
        self.unconfirmed.discard(active.idx)
        self.unsent.add(active.idx)

    def mind(self, idx: int) -> Care:
        """What is to be minded with the next dispatches of the task; to be changed."""
        return self.care.setdefault(idx, Care())

    def done_with(self, idx: int) -> None:
        """The task is under way no longer."""
        self.active.pop(idx, None)
        self.unsent.discard(idx)
        self.unconfirmed.discard(idx)

    def place(self, idx: int) -> tuple[int, int]:
        """The template's number and the position in it of a task."""
        template, first, end = self._near
        if not first <= idx < end:
            template = bisect.bisect_right(self.first, idx) - 1
            first = self.first[template]
            self._near = template, first, first + len(self.templates[template].rows)
        return template, idx - first

    def name(self, idx: int) -> str:
        """The task's name, with its instance."""
        template, position = self.place(idx)
        return instance_name(self.templates[template].name, self.templates[template].rows[position], position)

    def instance(self, idx: int, runtime: dict[str, str] | None = None) -> Instance:
        """What the task asks for."""
        template, position = self.place(idx)
        instance = self.instances[template].at(position, runtime)
        return instance.asking(self.asked[idx]) if idx in self.asked else instance

    def attempt(self, idx: int) -> int:
        """The number of the task's next attempt."""
        return self.attempts.get(idx, 1)

    def moved(self, idx: int, state: TaskState) -> None:
        """Note a task's new state; its end is counted, and whom it concerns is looked at."""
        template, position = self.place(idx)
        old = self.states[idx]
        tally = self.needs.tallies[template]
        if old in FINAL:
            tally.count(old, -1)
            self.ended -= 1
        self.states[idx] = state
        if state in FINAL:
            tally.count(state, 1)
            self.ended += 1
            self.done_with(idx)
            self.care.pop(idx, None)
            if state is TaskState.FAILED and not self.templates[template].may_fail:
                self.failed_for_good += 1
            for other, where in self.needs.concerned(template, position):
                self._look(other, where)

    def _look(self, template: int, position: int | None) -> None:
        first = self.first[template]
        if position is not None:
            self.look_at.append(first + position)
            return
        tally = self.needs.tallies[template]
        if tally.ended < tally.total:
            self.look_at.extend(range(first, first + len(self.templates[template].rows)))

    def look_again(self) -> None:
        """Look at every waiting task again (after a failure that stops the experiment)."""
        self.look_at.extend(idx for idx, state in enumerate(self.states) if state is TaskState.WAITING)

    def delay(self, idx: int, due_s: float) -> None:
        """The task waits for another attempt until ``due_s``."""
        heapq.heappush(self.due, (due_s, idx))
        self.delayed.add(idx)

    def role_key(self, idx: int, role: str) -> str:
        """The name under which the role of this task is bound: ``role``, or ``role[value]`` with ``each``."""
        declared = self.experiment.roles.get(role)
        if declared is None or declared.each is None:
            return role
        template, position = self.place(idx)
        found = self.templates[template]
        return f"{role}[{found.rows[position][found.keys.index(declared.each)]}]"

    def machine_of(self, idx: int, role: str) -> str | None:
        """The machine of a task's role; None while it is not bound."""
        declared = self.experiment.roles.get(role)
        if declared is None:
            return role
        if declared.machine is not None:
            return declared.machine
        return self.bindings.get(self.role_key(idx, role))

    def own_machine(self, group: ReadyGroup, idx: int) -> str | None:
        """What tells the machines of this task of a group from those of others: that of its own role, if it has one."""
        return self.bindings.get(self.role_key(idx, group.own)) if group.own is not None else None

    def shown_bindings(self) -> tuple[Binding, ...]:
        """The roles that have a machine; there may be very many, and few are new."""
        count, shown = self._shown
        if len(self.bindings) != count:
            new = islice(self.bindings.items(), count, None)
            roles = self.experiment.roles
            shown += tuple([Binding(self.row.id, key, name) for key, name in new if key.partition("[")[0] in roles])
            self._shown = len(self.bindings), shown
        return shown

    def machines_of(self, idx: int, instance: Instance) -> tuple[str, ...]:
        """The bound machines of all roles of a task, each once; ``local`` where a task names none."""
        names = [self.machine_of(idx, role) for role in instance.roles or (LOCAL,)]
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def touches(self, machine: str) -> bool:
        """True when a task that is ready or under way is waiting for, or working on, the machine."""
        return any(machine in active.touches for active in self.active.values()) or any(
            machine == self.machine_of(group.tasks[0], role)
            for group in self.ready.values()
            if group.tasks
            for role in group.roles or (LOCAL,)
        )

    def is_over(self) -> bool:
        """True when every task is final."""
        return self.ended == len(self.states)

    @property
    def under_way(self) -> int:
        """How many tasks count against ``max_running``."""
        return len(self.active)
