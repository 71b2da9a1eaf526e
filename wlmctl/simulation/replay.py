"""Recorded decisions of a live run, asked for again: a scheduler is a pure function, so the answers are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wlmctl import recording
from wlmctl.scheduler import Assignment, Binding, Decision, Scheduler, SchedulerFactory
from wlmctl.simulation import files
from wlmctl.simulation.asking import decided


@dataclass(slots=True)
class Replayed:
    """One scheduler's decisions of the file. ``difference`` is the first, None where there is none."""

    name: str
    decisions: int = 0
    same: int = 0
    difference: str | None = None


def replay(
    path: Path, factory: Callable[[str], SchedulerFactory], other: tuple[str, Mapping[str, Any]] | None = None
) -> list[Replayed]:
    """Ask the schedulers of the file again, with their options; or ``other`` (a name and options) in their place."""
    schedulers, found = dict[str, Scheduler](), dict[str, Replayed]()
    for line, recorded in recording.read(path):
        name, options = other or (recorded.scheduler, recorded.options)
        key = json.dumps([name, dict(options)], sort_keys=True, default=str)
        if key not in schedulers:
            schedulers[key] = factory(name)(options)
        told = found.setdefault(name, Replayed(name))
        now = decided(name, schedulers[key], recorded.snapshot, f"at {path}:{line}")
        difference = next(_differences(recorded.decision, now), None)
        told.decisions += 1
        told.same += difference is None
        if difference is not None and told.difference is None:
            told.difference = f"{path}:{line}: {difference}"
    if not found:
        files.wrong(path, None, "", "no decision", "those of a live run, as record_decisions writes them")
    return list(found.values())


def _differences(then: Decision, now: Decision) -> Iterator[str]:
    """Assignments and bindings of one that the other has not."""
    for before, after in (
        ([*map(_assigned, then.assignments)], [*map(_assigned, now.assignments)]),
        ([*map(_bound, then.bindings)], [*map(_bound, now.bindings)]),
    ):
        yield from (f"{what} was decided, and is not any more" for what in before if what not in set(after))
        yield from (f"{what} is decided, and was not" for what in after if what not in set(before))
        if before != after:
            yield "the same is decided in another order"


def _assigned(item: Assignment) -> str:
    return f"{item.task} on {', '.join([str(item.machine), *item.more])} by {item.worker or 'any worker'}"


def _bound(item: Binding) -> str:
    return f"{item.role} of {item.experiment} = {item.machine}"
