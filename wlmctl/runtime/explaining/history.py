"""How long tasks like one have waited and run, by the own past: nothing is promised, the range is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from wlmctl.quantities import format_duration
from wlmctl.runtime.explaining.facts import ExpectedStart, Fact, Spread
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.runtime.explaining.turn import ready_since
from wlmctl.states import ExperimentState, TaskState

#: Not more of the past is read: experiments, newest first, and events of all of them together.
MOST_EXPERIMENTS, MOST_EVENTS = 50, 200_000

#: About so many tasks of one experiment stand for all of them.
SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of others like a task: waits from ready to start, and runs to their success, in seconds."""

    waits_s: Sequence[float]
    runs_s: Sequence[float]
    basis: str

    def __bool__(self) -> bool:
        return bool(self.waits_s or self.runs_s)


def past(scene: Scene) -> Past:
    """Other tasks of this name in experiments of this name; where there are none, all others of its type."""
    dialect, name = scene.db.dialect, scene.template.name
    where = f"e.name = ? AND t.type = ? AND (t.name = ? OR {dialect.like_glob.format('t.name')})"
    own = _read(scene, where, (scene.row.name, scene.task.type, name, dialect.pattern(f"{name}[[]*")), "task")
    return own or _read(scene, "t.type = ?", (scene.task.type,), "type")


def _read(scene: Scene, where: str, values: tuple[Any, ...], basis: str) -> Past:
    waits, runs, budget = list[float](), list[float](), MOST_EVENTS
    where, values = f"{where} AND NOT (t.exp = ? AND t.idx = ?)", (*values, scene.row.seq, scene.task.idx)
    rows = scene.db.rows(
        "SELECT e.seq, e.events FROM experiments e WHERE EXISTS (SELECT 1 FROM tasks t WHERE t.exp = e.seq AND"
        f" {where} AND t.started IS NOT NULL) ORDER BY e.seq DESC LIMIT {MOST_EXPERIMENTS}",
        values,
    )
    for seq, count in rows:
        budget -= count
        if budget < 0 and seq != rows[0][0]:
            break
        for state, ready_s, started_s, ended_s in _sample(scene, seq, where, values):
            if ready_s is not None and started_s >= ready_s:
                waits.append(started_s - ready_s)
            if state == TaskState.SUCCEEDED and ended_s is not None:
                runs.append(max(0.0, ended_s - started_s))
    return Past(waits, runs, basis)


def _sample(
    scene: Scene, seq: int, where: str, values: tuple[Any, ...]
) -> Iterator[tuple[str, float | None, float, float | None]]:
    """State, and when each became ready, started and ended: of many tasks of one experiment every so manieth."""
    which = f"FROM tasks t JOIN experiments e ON e.seq = t.exp WHERE t.exp = ? AND {where} AND t.started IS NOT NULL"
    count = scene.db.row(f"SELECT count(*) {which}", (seq, *values))[0]
    rows = scene.db.rows(
        f"SELECT t.idx, t.state, t.started, t.ended {which} AND t.position % ? = 0 LIMIT {2 * SAMPLE}",
        (seq, *values, max(1, count // SAMPLE)),
    )
    ready: dict[int, float] = dict(
        scene.db.rows(
            "SELECT task, max(time) FROM events WHERE exp = ? AND kind = 'task' AND target = 'ready'"
            f" AND task IN ({', '.join('?' * len(rows))}) GROUP BY task",
            (seq, *(row[0] for row in rows)),
        )
        if rows
        else ()
    )
    for idx, state, started_s, ended_s in rows:
        yield state, ready.get(idx), started_s, ended_s


def _spread(durations_s: Sequence[float]) -> Spread:
    return Spread(median(durations_s), min(durations_s), max(durations_s), len(durations_s))


def facts(found: Past) -> list[Fact]:
    """What the past tells, in words and figures."""
    of_what = "of its name" if found.basis == "task" else "of its type"
    told = list[Fact]()
    for code, verb, durations_s in (("waited", "waited", found.waits_s), ("took", "took", found.runs_s)):
        if durations_s:
            each = _spread(durations_s)
            text = f"one other task {of_what} {verb} {format_duration(each.median_s)}"
            if each.count > 1:
                range_of = f"{format_duration(each.least_s)} to {format_duration(each.most_s)} (of {each.count})"
                text = f"tasks {of_what} {verb} {format_duration(each.median_s)} in the median, {range_of}"
            told.append(Fact(code, text, as_figures(each) | {"basis": found.basis}))
    return told


def as_figures(each: Spread) -> dict[str, Any]:
    """A spread for programs."""
    return {"median_s": each.median_s, "least_s": each.least_s, "most_s": each.most_s, "count": each.count}


def expected_start(scene: Scene, found: Past) -> ExpectedStart | None:
    """When it should start, where nothing but its turn, a delay or the experiment's start is before it."""
    begins_s = _ready_at(scene)
    if begins_s is None or not found.waits_s:
        return None
    waited_s = max(0.0, scene.now_s - begins_s)
    longer = sorted(each for each in found.waits_s if each >= waited_s)
    spread = _spread(found.waits_s)
    return ExpectedStart(
        max(scene.now_s, begins_s + spread.least_s),
        begins_s + spread.median_s if spread.median_s >= waited_s else None,
        begins_s + longer[-1] if longer else None,
        spread,
        found.basis,
    )


def _ready_at(scene: Scene) -> float | None:
    """When it became ready, or will; None where that depends on tasks, or on somebody who must do something."""
    task, row = scene.task, scene.row
    if scene.holder is None or row.state not in (ExperimentState.RUNNING, ExperimentState.SCHEDULED) or row.stopping:
        return None
    if task.state == TaskState.READY:
        since_s = ready_since(scene.events)
        return row.created if since_s is None else since_s
    if task.due is not None:
        return max(task.due, scene.now_s)
    if row.state == ExperimentState.SCHEDULED and row.start_due is not None and not scene.template.needs:
        return max(row.start_due, scene.now_s)
    return None
