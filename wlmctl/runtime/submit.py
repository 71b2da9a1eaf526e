"""Writing checked experiments into the store: one transaction, ids made here, a key against doing it twice."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from wlmctl.errors import CommitInDoubt, StoreError, UsageError
from wlmctl.experiment import content_digest, to_document
from wlmctl.experiment.model import Experiment
from wlmctl.host import host_id
from wlmctl.store import experiments, leases, series
from wlmctl.store.database import Database
from wlmctl.store.leases import Lease
from wlmctl.store.rows import ExperimentRow
from wlmctl.store.series import SeriesRow


@dataclass(frozen=True, slots=True)
class Submitted:
    """One experiment, or series, in the store; ``is_new`` False: the key had brought it there before.

    ``seq`` is the experiment's number; a series has none: 0.
    """

    id: str
    seq: int
    is_new: bool = True


def login_name() -> str:
    """The login of the calling process, recorded with what it does."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def submit(
    db: Database, experiment: Experiment, *, origin: str = "submit", key: str | None = None, now_s: float | None = None
) -> tuple[str, int]:
    """Write one experiment; returns its id and its number in the store."""
    [written] = submit_all(db, [experiment], origin=origin, key=key, now_s=now_s)
    return written.id, written.seq


def submit_all(
    db: Database,
    new: Sequence[Experiment],
    *,
    origin: str = "submit",
    key: str | None = None,
    local_on: str | None = None,
    now_s: float | None = None,
    hand_over: Callable[[list[str]], None] | None = None,
) -> list[Submitted]:
    """Write all experiments, or none, in one transaction. One with a ``schedule`` becomes a series.

    ``local_on`` names the worker whose host is to be ``local``, by its name, host or label; None: this host.
    ``hand_over`` gets the ids before the commit: when they cannot be told to anybody, nothing is submitted.
    The same key and content again gives the same ids; other content is a ``UsageError``.
    """
    digests = [content_digest(experiment) for experiment in new]
    if local_on is not None:  # another place is another content
        digests = [f"{digest}@{local_on}" for digest in digests]
    with _all_or_nothing(db):
        written = _known(db, key, digests)
        if written is None:
            keys = _keys(key, len(new))
            now = time.time() if now_s is None else now_s
            written = [
                _write(db, *each, origin=origin, now_s=now, local_on=local_on)
                for each in zip(new, digests, keys, strict=True)
            ]
        if hand_over is not None:
            hand_over([each.id for each in written])
    return written


def submit_for_run(
    db: Database,
    experiment: Experiment,
    *,
    now_s: float | None = None,
    hand_over: Callable[[str], None] = lambda _: None,
) -> tuple[str, Lease, int]:
    """Write one experiment of ``run`` and take its lease, in one transaction; ``hand_over`` as in ``submit_all``."""
    assert experiment.schedule is None, "a series needs an orchestrator"
    digest = content_digest(experiment)
    with _all_or_nothing(db):
        now = time.time() if now_s is None else now_s
        written = _write(db, experiment, digest, None, origin="run", now_s=now)
        lease = leases.take(db, leases.experiment_lease(written.seq), expect=None, info={"experiment": written.id})
        assert lease is not None, "nobody else can know of an experiment before it is committed"
        hand_over(written.id)
    return written.id, lease, written.seq


@contextmanager
def _all_or_nothing(db: Database) -> Iterator[None]:
    """A transaction; where it fails, ids may have been told already, so the error says what that means."""
    try:
        with db.transaction():
            yield
    except CommitInDoubt as error:
        raise CommitInDoubt(f"{error}: wlmctl status shows what is there, before it is submitted again") from error
    except StoreError as error:
        raise StoreError(f"{error}; nothing was submitted") from error


def _keys(key: str | None, count: int) -> list[str | None]:
    """One key an experiment: the key itself, or the key with a number."""
    if key is None or count == 1:
        return [key] * count
    return [f"{key}[{number}]" for number in range(1, count + 1)]


def _known(db: Database, key: str | None, digests: Sequence[str]) -> list[Submitted] | None:
    """What this key brought into the store before, or None; ``UsageError`` when that had other content."""
    if key is None:
        return None
    wanted = _keys(key, len(digests))
    others = {key, f"{key}[1]", f"{key}[{len(digests) + 1}]"}.difference(filter(None, wanted))
    rows: list[ExperimentRow | SeriesRow | None] = [_by_key(db, each) for each in wanted if each is not None]
    rows_of_others = [_by_key(db, each) for each in sorted(others)]
    taken = next((row for row in rows + rows_of_others if row is not None), None)
    if taken is None:
        return None
    same = [row for row, digest in zip(rows, digests, strict=True) if row is not None and row.content_digest == digest]
    if len(same) != len(digests) or any(rows_of_others):
        raise UsageError(f"--key {key}: it was used before, with other content, for {taken.id}: take another key")
    return [Submitted(row.id, row.seq if isinstance(row, ExperimentRow) else 0, is_new=False) for row in same]


def _by_key(db: Database, key: str) -> ExperimentRow | SeriesRow | None:
    return experiments.by_key(db, key) or series.by_key(db, key)


def _write(
    db: Database,
    experiment: Experiment,
    digest: str,
    key: str | None,
    *,
    origin: str,
    now_s: float,
    local_on: str | None = None,
) -> Submitted:
    identifier = experiments.new_id(experiment.name)
    start_due_s = start_due(experiment, now_s)
    submission = experiments.Submission(
        id=identifier,
        user=login_name(),
        host=host_id(),
        host_name=socket.gethostname(),
        origin=origin,
        created_s=now_s,
        start_due_s=start_due_s,
        document=json.dumps(to_document(experiment), separators=(",", ":")),
        content_digest=digest,
        key=key,
        local_on=local_on,
    )
    if experiment.schedule is not None:
        series.create(db, experiment, submission, first_due(experiment, now_s))
        return Submitted(identifier, 0)
    return Submitted(identifier, experiments.create(db, experiment, submission))


def first_due(experiment: Experiment, now_s: float) -> float | None:
    """When the first experiment of a series is due, in seconds since the epoch; it begins at its start, or now.

    A start that has passed counts only with ``catchup``. None: never.
    """
    from wlmctl.experiment.cron import Cron

    schedule = experiment.schedule
    assert schedule is not None
    cron, start = Cron(schedule.cron, schedule.timezone), experiment.start
    if start is not None and schedule.catchup:
        begin_s = datetime.fromisoformat(start).timestamp()
    else:
        begin_s = start_due(experiment, now_s) or now_s
    # a due time at the very moment of the start is one of the series
    return cron.after(begin_s - 0.001 if begin_s != now_s else now_s)


def start_due(experiment: Experiment, now_s: float) -> float | None:
    """When the experiment is to start, in seconds since the epoch; None: now."""
    if experiment.start_after_s is not None:
        due = now_s + experiment.start_after_s
    elif experiment.start is not None:
        due = datetime.fromisoformat(experiment.start).timestamp()
    else:
        return None
    return due if due > now_s else None
