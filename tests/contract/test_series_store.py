"""Series in both kinds of store: each due time is written once, with its experiment or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.play import task_type
from wlmctl.errors import NoSuch, StoreError, UsageError
from wlmctl.experiment import read
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.series import SeriesWatch
from wlmctl.runtime.submit import submit_all
from wlmctl.store import Database, experiments, open_database, series
from wlmctl.store.finding import find_any
from wlmctl.store.rows import ExperimentRow
from wlmctl.store.series import SeriesRow

NOW_S = 1_700_001_000.0
FILE = "name: n_ame\ntasks: {a: {type: step}}\nschedule: {cron: '* * * * *', overlap: queue}\n"


@pytest.fixture
def db(store_url: str) -> Iterator[Database]:
    with open_database(store_url) as database:
        yield database


@pytest.fixture
def identifier(db: Database, tmp_path: Path) -> str:
    (tmp_path / "s.yaml").write_text(FILE)
    (written,) = submit_all(db, [read(str(tmp_path / "s.yaml"), task_type=task_type)], key="k", now_s=NOW_S)
    return written.id


def release(db: Database, now_s: float) -> list[int]:
    """What a leader that has just begun does at this time."""
    watch, book = SeriesWatch(), Book(db, now_s)
    with db.transaction():
        watch.read(db)
        made = watch.release(book)
        book.flush()
    return made


def test_a_series_is_found_as_it_was_submitted(db: Database, identifier: str) -> None:
    row = series.get(db, identifier)
    assert row is not None
    assert series.by_key(db, "k") == row
    assert series.going_on(db) == [row]
    assert (row.name, row.cron, row.overlap, row.state, row.next_due) == (
        "n_ame", "* * * * *", "queue", "active", NOW_S + 60,
    )  # fmt: skip


def test_a_due_time_is_made_once_and_the_next_one_waits_for_its_end(db: Database, identifier: str) -> None:
    (seq,) = release(db, NOW_S + 60)
    assert release(db, NOW_S + 60) == []
    assert release(db, NOW_S + 120) == []
    assert series.waiting(db, identifier) == [NOW_S + 120]
    with db.transaction():
        db.execute("UPDATE experiments SET ended = ? WHERE seq = ?", (NOW_S + 121, seq))
    (second,) = release(db, NOW_S + 122)
    assert [row.seq for row in series.experiments_of(db, identifier)] == [second, seq]
    assert series.waiting(db, identifier) == []


def test_a_transaction_that_fails_leaves_neither_the_experiment_nor_the_next_due_time(
    db: Database, identifier: str
) -> None:
    def fail() -> None:
        watch = SeriesWatch()
        with db.transaction():
            watch.read(db)
            assert watch.release(Book(db, NOW_S + 60))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert series.experiments_of(db, identifier) == []
    assert len(release(db, NOW_S + 61)) == 1


def test_no_due_time_can_have_two_experiments(db: Database, identifier: str) -> None:
    (seq,) = release(db, NOW_S + 60)
    with pytest.raises(StoreError), db.transaction():
        series.keep_made(db, identifier, NOW_S + 60, 2, seq)


def test_ids_and_their_beginnings_mean_the_series_or_its_experiment(db: Database, identifier: str) -> None:
    release(db, NOW_S + 60)
    for text in (identifier, identifier[:-1], "n_a"):
        assert isinstance(find_any(db, text), SeriesRow)
    for text in (f"{identifier}.1", f"{identifier}."):
        assert isinstance(find_any(db, text), ExperimentRow)
    for text in ("nxa", "n%", "", f"{identifier}.2"):
        with pytest.raises(NoSuch):
            find_any(db, text)
    with pytest.raises(UsageError, match="is a series"):
        experiments.find(db, identifier)


def test_forgetting_an_experiment_leaves_no_row_of_its_due_time(db: Database, identifier: str) -> None:
    (seq,) = release(db, NOW_S + 60)
    with db.transaction():
        experiments.forget(db, seq)
    assert db.rows("SELECT * FROM series_dues") == []
