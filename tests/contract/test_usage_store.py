"""What was used, and what is taken of counters, in both kinds of store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stored import put, template
from wlmctl.orchestrator.counters import Counters
from wlmctl.store import Database, inventory, open_database, usage
from wlmctl.store.usage import BUCKET_S, HALF_LIFE_S

#: The middle of a bucket.
NOW_S = (80_000 + 0.5) * BUCKET_S


@pytest.fixture
def db(store_url: str) -> Iterator[Database]:
    with open_database(store_url) as database:
        yield database


def test_what_was_used_adds_up_and_halves_each_day(db: Database) -> None:
    told: list[tuple[float, dict[tuple[str, str | None], float]]] = [
        (NOW_S - HALF_LIFE_S, {("ann", "lab"): 80.0, ("ben", None): 8.0}),
        (NOW_S, {("ann", "lab"): 1.0}),
        (NOW_S + 1, {("ann", "lab"): 2.0, ("ann", None): 4.0, ("ben", "lab"): 16.0}),
    ]
    for now_s, used in told:
        with db.transaction():
            usage.add(db, now_s, used)
    by_user, by_project = usage.decayed(db, NOW_S)
    assert by_user == {"ann": pytest.approx(40 + 1 + 2 + 4), "ben": pytest.approx(4 + 16)}
    assert by_project == {"lab": pytest.approx(40 + 1 + 2 + 16)}
    assert usage.decayed(db, NOW_S + 30 * HALF_LIFE_S) == ({}, {}), "what is that old is not read"


def test_what_tasks_of_others_take_of_a_counter_is_left_out_of_what_is_left(db: Database) -> None:
    seq = put(db, [template("j", count=3)])
    for idx, text in ((0, '{"matlab": 2}'), (1, '{"matlab": 1, "gone": 9}')):
        with db.transaction():
            db.execute("UPDATE tasks SET counters = ?, attempt = 1 WHERE exp = ? AND idx = ?", (text, seq, idx))
    limits = {"matlab": 4, "ansys": 1}
    assert Counters(limits).left(db, [], []) == {"matlab": 1, "ansys": 1}
    assert Counters(limits).left(db, [], [], {(seq, 0, 1)}) == {"matlab": 3, "ansys": 1}
    assert Counters(limits).left(db, [], [seq]) == limits, "its own are told apart"
    assert Counters({"matlab": 2}).left(db, [], []) == {"matlab": 0}, "never less than nothing"
    assert Counters({}).left(db, [], []) == {}


def test_an_orchestrators_counters_are_kept_for_those_who_submit(db: Database) -> None:
    assert inventory.counters(db) == {}
    for counters in ({"matlab": 4, "ansys": 0}, {"matlab": 2}):
        with db.transaction():
            inventory.put_counters(db, counters)
        assert inventory.counters(db) == counters
