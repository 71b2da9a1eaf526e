"""What must hold after a round, each as a function that gives what is wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.experiments import EITHER, MACHINES, Written
from tests.chaos.fleet import Fleet
from tests.told import assert_told_in_full
from wlmctl.states import FINAL
from wlmctl.store import Database, experiments
from wlmctl.store.events import events
from wlmctl.store.rows import TaskRow

#: Exit codes of a process that ended by itself and was right: what it must reach was away when it started.
MAY_END_WITH = (0, 4)


def one_final_state(db: Database, seq: int, written: Written) -> Iterator[str]:
    """Each task is in a final state that its kind may have, and has gone into a final state exactly once."""
    finals = Counter(event.task for event in events(db, seq) if event.task is not None and event.target in FINAL)
    for task in experiments.tasks(db, seq):
        where = f"{written.path.stem}: {task.name}"
        if task.state not in FINAL:
            yield f"{where} is {task.state}: {task.reason}"
        elif task.state not in written.ends[task.name.partition("[")[0]]:
            yield f"{where} is {task.state} in attempt {task.attempt}: {task.reason}"
        if finals[task.idx] != 1:
            yield f"{where} went into a final state {finals[task.idx]} times"


def once_an_attempt(folder: Path, rows: Iterable[tuple[str, TaskRow]]) -> Iterator[str]:
    """Each job's command ran once an attempt: the machines' own files are the witnesses."""
    seen = Counter[tuple[str, str, int]]()
    for machine in (*MACHINES, EITHER):
        path = folder / f"witness-{machine}"
        for line in path.read_text().splitlines() if path.exists() else []:
            experiment, task, attempt = line.split()
            seen[experiment, task, int(attempt)] += 1
    for (of, name, number), count in seen.items():
        if count > 1:
            yield f"{of}: the command of {name} ran {count} times in attempt {number}"
    for experiment, row in rows:
        ran = [number for (exp, name, number) in seen if (exp, name) == (experiment, row.name)]
        if row.state == "skipped" and ran:
            yield f"{experiment}: {row.name} was skipped and ran"
        if max(ran, default=0) > row.attempt:
            yield f"{experiment}: {row.name} ran in attempts {ran}, and had {row.attempt}"
        if row.type == "job" and row.state in ("succeeded", "failed") and row.attempt not in ran:
            yield f"{experiment}: the command of {row.name} did not run in attempt {row.attempt}, its last"


def never_cancelled(again: Iterable[str]) -> Iterator[str]:
    """No attempt was given up as ended from outside: here nobody ends a job that was not cancelled."""
    for each in again:
        if "cancelled" in each or "ended from outside" in each:
            yield f"given up without cause: {each}"


def tried_again(db: Database, seq: int) -> Iterator[str]:
    """What had to be tried again through no fault of its own, and why: not wrong, but worth a look."""
    for event in events(db, seq):
        if event.task is not None and event.target == "waiting" and event.values.get("failure_class") == "infra":
            yield f"{experiments.task(db, seq, event.task).name}: {event.reason or event.values.get('reason')}"


def told_in_full(db: Database, seqs: Iterable[int]) -> Iterator[str]:
    """The event log folds to what is stored."""
    try:
        assert_told_in_full(db, seqs)
    except AssertionError as error:
        yield f"the events do not fold to the state: {error}"


def nothing_kept(db: Database) -> Iterator[str]:
    """No permit and no site is taken once all workers have ended."""
    [(permits,)] = db.rows("SELECT count(*) FROM permits")
    if permits:
        yield f"{permits} permits are not given back"
    [(sites,)] = db.rows("SELECT count(*) FROM tasks WHERE site IS NOT NULL")
    if sites:
        yield f"{sites} ended tasks still have a place on a machine"


def nothing_queued(queues: Mapping[str, Mapping[str, Any]], living: Collection[str]) -> Iterator[str]:
    """No message waits or is held, and no queue is there of a worker that is not ``living`` (by its name)."""
    for name, queue in queues.items():
        if queue.get("messages", 0):
            yield f"{queue['messages']} messages are left in {name} ({queue.get('messages_unacknowledged')} unacked)"
        own = re.search(r"\.worker\.[^.]+\.(worker-\d+)-[a-z2-7]{6}", name)
        if own is None and ".worker." in name:
            yield f"the queue {name} is of no worker"
        if own is not None and (own[1] not in living or not queue.get("consumers", 0)):
            yield f"the queue {name} of an ended worker is left"


def no_bug(fleet: Fleet, may_end_with: Collection[int] = MAY_END_WITH) -> Iterator[str]:
    """No process ended by a mistake of its own, and none wrote a traceback."""
    for member in fleet.members:
        odd = [code for code in member.process.endings if code not in may_end_with]
        if odd:
            yield f"{member.name} ended by itself with {odd}"
        text = member.process.log.read_text(errors="replace")
        if found := re.search(r"Traceback.*?\n(?=\S)[^\n]*", text, re.DOTALL):
            yield f"{member.name} wrote a traceback: {found[0].splitlines()[-1]}"


def no_process(fleet: Fleet) -> Iterator[str]:
    """Nothing that a round has started runs any longer."""
    for pid, what in fleet.processes().items():
        yield f"process {pid} is left over: {what[:200]}"
