"""Whether a task's needs are met, cannot be met any more, or are still open: from counters, never by scanning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from wlmctl.experiment.model import Need, Template
from wlmctl.states import FINAL, TaskState


class Verdict(Enum):
    """What is known of a task's needs."""

    OPEN = "open"
    MET = "met"
    LOST = "lost"


@dataclass(slots=True)
class Tally:
    """How the instances of one template stand."""

    total: int
    succeeded: int = 0
    ended: int = 0
    cancelled: int = 0

    def count(self, state: TaskState, step: int) -> None:
        """Count one instance in (``step`` 1) or out of (-1) ``state``."""
        if state in FINAL:
            self.ended += step
            if state is TaskState.SUCCEEDED:
                self.succeeded += step
            elif state is TaskState.CANCELLED:
                self.cancelled += step


class Needs:
    """The edges of one experiment, by number: templates and, within them, positions."""

    def __init__(self, templates: Sequence[Template]) -> None:
        numbers = {template.name: number for number, template in enumerate(templates)}
        self._needs = [[(numbers[need.task], need) for need in template.needs] for template in templates]
        self.dependents: list[list[tuple[int, Need]]] = [[] for _ in templates]
        for number, needs in enumerate(self._needs):
            for target, need in needs:
                self.dependents[target].append((number, need))
        self.tallies = [Tally(len(template.rows)) for template in templates]

    def verdict(self, template: int, position: int, state_of: Sequence[TaskState], first: Sequence[int]) -> Verdict:
        """What is known of the needs of one instance; ``state_of`` and ``first`` give its partners' states."""
        verdict = Verdict.MET
        for target, need in self._needs[template]:
            one = self._one(target, need, position, state_of, first)
            if one is Verdict.LOST:
                return one
            if one is Verdict.OPEN:
                verdict = one
        return verdict

    def _one(
        self, target: int, need: Need, position: int, state_of: Sequence[TaskState], first: Sequence[int]
    ) -> Verdict:
        if need.which == "all":
            tally = self.tallies[target]
            if need.how == "succeeded":
                if tally.succeeded == tally.total:
                    return Verdict.MET
                return Verdict.LOST if tally.ended > tally.succeeded else Verdict.OPEN
            if tally.cancelled:
                return Verdict.LOST
            return Verdict.MET if tally.ended == tally.total else Verdict.OPEN
        state = state_of[first[target] + (position if need.which == "same" else need.which)]
        if state is TaskState.SUCCEEDED:
            return Verdict.MET
        if state not in FINAL:
            return Verdict.OPEN
        return Verdict.MET if need.how == "ended" and state is not TaskState.CANCELLED else Verdict.LOST

    def concerned(self, template: int, position: int) -> list[tuple[int, int | None]]:
        """Whom the end of an instance concerns: (template, position), with None for all of its instances."""
        concerned: list[tuple[int, int | None]] = []  # to call the type would take longer than all of this
        for number, need in self.dependents[template]:
            if need.which == "all":
                tally = self.tallies[template]
                lost = tally.ended > tally.succeeded if need.how == "succeeded" else tally.cancelled > 0
                if lost or tally.ended == tally.total:
                    concerned.append((number, None))
            elif need.which == "same":
                concerned.append((number, position))
            elif need.which == position:
                concerned.append((number, None))
        return concerned
