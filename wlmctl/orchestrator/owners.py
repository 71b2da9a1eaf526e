"""Whose the ready tasks are that a scheduler names: found among the first of each group, or wherever they are."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.work import Work

#: In so many groups of one template a task is looked for; where there are more, all tasks are listed.
_FEW = 16

_Owner = tuple[Work, ReadyGroup, int]


class Owners:
    """The ready tasks by the names that schedulers know, while ``most`` of them are asked for."""

    def __init__(self, groups: Iterable[tuple[Work, ReadyGroup]], most: int) -> None:
        self._groups = list(groups)
        self._known = self._first(most)  # schedulers nearly always take those
        self._is_whole = False

    def of(self, task: str) -> _Owner | None:
        """The task's experiment, group and position; None where it is not ready."""
        found = self._known.get(task)
        if found is not None or self._is_whole:
            return found
        place = self._place(task)
        if place is None:
            return None
        work, idx = place
        few = self._of_template[work.seq, work.place(idx)[0]]
        if len(few) > _FEW:
            self._known, self._is_whole = self._first(None), True
            return self._known.get(task)
        for group in few:
            where = bisect.bisect_left(group.tasks, idx)
            if where < len(group.tasks) and group.tasks[where] == idx:
                return work, group, idx
        return None

    @cached_property
    def _works(self) -> Mapping[str, Work]:
        return {str(work.seq): work for work, _ in self._groups}

    @cached_property
    def _of_template(self) -> Mapping[tuple[int, int], Sequence[ReadyGroup]]:
        found = defaultdict[tuple[int, int], list[ReadyGroup]](list)
        for work, group in self._groups:
            found[work.seq, group.template].append(group)
        return found

    def _place(self, task: str) -> tuple[Work, int] | None:
        """The experiment and the position that such a name means, whether the task is ready or not."""
        seq, _, digits = task.partition(".") if isinstance(task, str) else ("", "", "")
        work = self._works.get(seq)
        if work is None or not digits.isdecimal() or len(digits) > len(str(len(work.states))):
            return None
        idx = int(digits)
        return (work, idx) if str(idx) == digits and idx < len(work.states) else None

    def _first(self, most: int | None) -> dict[str, _Owner]:
        return {f"{work.seq}.{idx}": (work, group, idx) for work, group in self._groups for idx in group.tasks[:most]}
