"""What is known of experiments that are worked on: tasks by state, kept up by reading the store's new events."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wlmctl.states import EXPERIMENT_FINAL
from wlmctl.store import events, experiments
from wlmctl.store.database import Database
from wlmctl.store.rows import EventRow, ExperimentRow

FINAL_STATES = frozenset(state.value for state in EXPERIMENT_FINAL)
UNDER_WAY = ("assigned", "running", "deferred", "cancelling")


@dataclass(slots=True)
class Group:
    """A task of the file with its instances, counted by state."""

    name: str
    total: int
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """How many instances have ended, however."""
        return sum(self.counts[state] for state in ("succeeded", "failed", "cancelled", "skipped"))

    @property
    def running(self) -> int:
        """How many instances are under way."""
        return sum(self.counts[state] for state in UNDER_WAY)


@dataclass(slots=True)
class Followed:
    """One experiment that is followed: its row as last read, its state now, its groups in file order."""

    row: ExperimentRow
    state: str
    groups: list[Group]
    starts: list[int]
    n: int

    def group_of(self, idx: int) -> Group:
        """The group of the task with this position."""
        return self.groups[bisect_right(self.starts, idx) - 1]

    @property
    def counts(self) -> Counter[str]:
        """All tasks by state."""
        return sum((group.counts for group in self.groups), Counter())

    @property
    def is_final(self) -> bool:
        """True once the experiment has ended."""
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Change:
    """One new event, with the experiment and, for a task's, the group it is about."""

    experiment: Followed
    event: EventRow
    group: Group | None


class Picture:
    """The state of some experiments, which ``read`` brings up to date."""

    def __init__(self, db: Database, seqs: Sequence[int]) -> None:
        self._db = db
        with db.snapshot():  # so that the counts fit the number of the last event
            self.experiments = {seq: self._load(seq) for seq in seqs}
        self._version = db.data_version()

    def _load(self, seq: int) -> Followed:
        row = experiments.get(self._db, seq)
        assert row is not None
        starts = self._db.rows(
            "SELECT template, min(idx), count(*) FROM tasks WHERE exp = ? GROUP BY template ORDER BY template", (seq,)
        )
        groups: dict[int, Group] = {}
        for template, start, total in starts:
            name = self.task_name(seq, start)
            groups[template] = Group(name.partition("[")[0], total)
        for template, state, count in self._db.rows(
            "SELECT template, state, count(*) FROM tasks WHERE exp = ? GROUP BY template, state", (seq,)
        ):
            groups[template].counts[state] = count
        return Followed(row, row.state, list(groups.values()), [start for _, start, _ in starts], row.events)

    def task_name(self, seq: int, idx: int) -> str:
        """The name of one task, with its instance."""
        return str(self._db.row("SELECT name FROM tasks WHERE exp = ? AND idx = ?", (seq, idx))[0])

    def assignment(self, event: EventRow) -> Mapping[str, Any]:
        """What the task was last given before ``event``: its machine and attempt among other things."""
        # the row may be further by now than the event that is told
        row = self._db.row(
            "SELECT data FROM events WHERE exp = ? AND n <= ? AND task = ? AND target = 'assigned'"
            " ORDER BY n DESC LIMIT 1",
            (event.exp, event.n, event.task),
        )
        given: dict[str, Any] = json.loads(row[0]) if row and row[0] else {}
        return given

    def read(self, *, always: bool = False) -> list[Change]:
        """What has happened since the last call, in order; costs next to nothing while nobody has written."""
        version = self._db.data_version()
        if version == self._version and not always:
            return []
        self._version = version
        return [change for followed in self.experiments.values() for change in self._read(followed)]

    def _read(self, followed: Followed) -> list[Change]:
        changes = []
        for event in events.events(self._db, followed.row.seq, after=followed.n):
            followed.n = event.n
            group = None
            if event.task is not None:
                group = followed.group_of(event.task)
                if event.kind == "task" and event.source and event.target:
                    group.counts[event.source] -= 1
                    group.counts[event.target] += 1
            elif event.target is not None:
                followed.state = event.target
            changes.append(Change(followed, event, group))
        return changes

    @property
    def states(self) -> list[str]:
        """The state of each experiment."""
        return [followed.state for followed in self.experiments.values()]
