"""A series: at each due time one experiment, whoever leads, by its rules for overlaps and gaps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import FAILED, Clock, play_types
from wlmctl import control, series
from wlmctl.errors import UsageError
from wlmctl.store import experiments
from wlmctl.store import series as stored
from wlmctl.store.rows import ExperimentRow
from wlmctl.store.series import SeriesRow

#: The play begins at half past an hour; its series are due each minute.
MINUTE = "tasks: {a: {type: step}}\nschedule: {cron: '* * * * *'"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestra]:
    clock = Clock()
    play_types(monkeypatch, clock)
    orchestra = Orchestra(tmp_path, clock=clock)
    yield orchestra
    orchestra.close()


def begin(play: Orchestra, *, more: str = "", head: str = "") -> str:
    """A series that is due each minute is submitted; its id."""
    play.submit(f"{head}{MINUTE}{more}}}\n")
    play.step()
    return stored.going_on(play.others)[0].id


def row(play: Orchestra, identifier: str) -> SeriesRow:
    found = stored.get(play.others, identifier)
    assert found is not None
    return found


def made(play: Orchestra, identifier: str) -> list[ExperimentRow]:
    """The experiments of the series, the first one first."""
    return stored.experiments_of(play.others, identifier)[::-1]


def due_times(play: Orchestra, identifier: str) -> list[str]:
    """When the experiments so far were due."""
    return [clock_of(each.start_due) for each in made(play, identifier)]


def clock_of(time_s: float | None) -> str:
    assert time_s is not None
    return datetime.fromtimestamp(time_s, UTC).strftime("%H:%M:%S")


def finish(play: Orchestra) -> None:
    """Workers end everything that they have."""
    for message in list(play.tasks):
        play.end(message)
    play.step()


def test_each_due_time_brings_one_experiment_that_runs_like_any_other(play: Orchestra) -> None:
    identifier = begin(play, head="priority: high\nlabels: [nightly]\n")
    assert made(play, identifier) == []
    play.step(59)
    assert made(play, identifier) == []
    play.step(1)
    assert play.names() == ["a"]
    finish(play)
    play.step(60)
    finish(play)
    first, second = made(play, identifier)
    assert (first.id, second.id) == (f"{identifier}.1", f"{identifier}.2")
    assert due_times(play, identifier) == ["22:31:00", "22:32:00"]
    assert (first.state, first.priority, first.label_list, first.origin) == ("succeeded", 6, ["nightly"], "submit")
    assert_told_in_full(play.others, [first.seq, second.seq])


def test_a_due_time_is_kept_once_by_whoever_leads_next(play: Orchestra) -> None:
    identifier = begin(play)
    play.clock.now_s += 61  # the one who leads has died before it came
    play.lead()
    play.step()
    assert due_times(play, identifier) == ["22:31:00"]
    play.lead()  # the next one dies right after it, with all that it had in memory
    play.step(1)
    assert due_times(play, identifier) == ["22:31:00"]
    assert row(play, identifier).made == 1


def test_due_times_while_nobody_leads_are_missed_and_the_series_says_so(play: Orchestra) -> None:
    identifier = begin(play)
    play.clock.now_s += 5 * 60 + 45
    play.lead()
    play.step()
    assert made(play, identifier) == []
    assert "missed 2023-11-14T22:31:00Z, and all until 2023-11-14T22:36:00Z" in str(row(play, identifier).note)
    play.step(15)
    assert due_times(play, identifier) == ["22:36:00"]


def test_with_catchup_each_missed_due_time_is_made_up_for_in_order(play: Orchestra) -> None:
    identifier = begin(play, more=", catchup: true")
    play.clock.now_s += 3 * 60 + 45
    play.lead()
    for _ in range(3):
        play.step()
        assert len(play.tasks) == 1  # one after another: they overlap as little as others of the series
        finish(play)
    assert due_times(play, identifier) == ["22:31:00", "22:32:00", "22:33:00"]
    assert row(play, identifier).skipped == 0


def test_with_catchup_and_overlap_allowed_they_begin_at_once(play: Orchestra) -> None:
    identifier = begin(play, more=", catchup: true, overlap: allow")
    play.clock.now_s += 7 * 60 + 45
    play.lead()
    play.step()
    assert len(made(play, identifier)) == 7


def test_a_due_time_is_skipped_while_an_earlier_experiment_goes_on(play: Orchestra) -> None:
    identifier = begin(play)
    play.step(60).step(60).step(60)
    assert due_times(play, identifier) == ["22:31:00"]
    assert row(play, identifier).skipped == 2
    assert row(play, identifier).note == "skipped 2023-11-14T22:33:00Z: an earlier experiment was going on"
    finish(play)
    play.step(60)
    assert due_times(play, identifier) == ["22:31:00", "22:34:00"]


def test_a_queued_due_time_begins_when_the_earlier_experiment_has_ended(play: Orchestra) -> None:
    identifier = begin(play, more=", overlap: queue")
    play.step(60).step(60).step(60)
    assert [clock_of(due) for due in stored.waiting(play.others, identifier)] == ["22:32:00", "22:33:00"]
    play.lead()  # what waits is in the store
    play.step(40)
    assert due_times(play, identifier) == ["22:31:00"]
    play.end(play.task("a"), FAILED)  # a failed end is an end
    play.step()
    assert due_times(play, identifier) == ["22:31:00", "22:32:00"]
    finish(play)
    finish(play)
    assert due_times(play, identifier) == ["22:31:00", "22:32:00", "22:33:00"]
    assert stored.waiting(play.others, identifier) == []


def test_allowed_overlaps_run_beside_one_another(play: Orchestra) -> None:
    identifier = begin(play, more=", overlap: allow")
    play.step(60).step(60)
    assert play.names() == ["a", "a"]
    assert due_times(play, identifier) == ["22:31:00", "22:32:00"]


def test_a_cancelled_experiment_makes_room_for_what_waits(play: Orchestra) -> None:
    identifier = begin(play, head="machines: {}\n", more=", overlap: queue")
    play.step(60).step(60)
    (first,) = made(play, identifier)
    control.pause(play.others, first.seq, now_s=play.clock.time(), by="eve")
    play.step()
    assert len(made(play, identifier)) == 1  # a paused one goes on some day
    finish(play)
    control.resume(play.others, first.seq, now_s=play.clock.time())
    play.step()
    assert len(made(play, identifier)) == 2


def test_a_series_begins_at_its_start(play: Orchestra) -> None:
    identifier = begin(play, head="start: +10m\n")
    play.step(9 * 60 + 59)
    assert made(play, identifier) == []
    play.step(1)
    assert due_times(play, identifier) == ["22:40:00"]


@pytest.mark.parametrize(("catchup", "first"), [("true", "22:10:00"), ("false", "22:31:00")])
def test_a_start_that_has_passed_counts_only_with_catchup(play: Orchestra, catchup: str, first: str) -> None:
    identifier = begin(play, head="start: 2023-11-14T22:10:00Z\n", more=f", catchup: {catchup}")
    play.step(60)
    assert due_times(play, identifier)[0] == first


def test_a_paused_series_makes_nothing_and_goes_on_with_the_next_due_time(play: Orchestra) -> None:
    identifier = begin(play, more=", catchup: true")
    assert series.pause(play.others, identifier, by="eve").changed
    assert not series.pause(play.others, identifier, by="eve").changed
    play.step(200)
    assert made(play, identifier) == []
    assert series.resume(play.others, identifier, now_s=play.clock.time()).changed
    play.step()
    assert made(play, identifier) == []
    play.step(40)
    assert due_times(play, identifier) == ["22:34:00"]
    assert not series.resume(play.others, identifier, now_s=play.clock.time()).changed


def test_a_cancelled_series_makes_nothing_any_more(play: Orchestra) -> None:
    identifier = begin(play, more=", overlap: queue")
    play.step(60).step(60)
    assert series.cancel(play.others, identifier, now_s=play.clock.time(), by="eve").changed
    finish(play)
    play.step(600)
    assert due_times(play, identifier) == ["22:31:00"]
    assert stored.waiting(play.others, identifier) == []
    assert not series.cancel(play.others, identifier, now_s=play.clock.time(), by="eve").changed
    with pytest.raises(UsageError, match="is cancelled: it cannot go on"):
        series.resume(play.others, identifier, now_s=play.clock.time())


def test_a_cancel_at_the_very_moment_of_the_due_time_wins_or_loses_whole(play: Orchestra) -> None:
    identifier = begin(play)
    play.clock.now_s += 60
    series.cancel(play.others, identifier, now_s=play.clock.time(), by="eve")
    play.step()
    assert made(play, identifier) == []


def test_a_forgotten_experiment_is_not_made_again(play: Orchestra) -> None:
    identifier = begin(play)
    play.step(60)
    finish(play)
    with play.others.transaction():
        experiments.forget(play.others, made(play, identifier)[0].seq)
    play.lead()
    play.step()
    assert made(play, identifier) == []
    play.step(60)
    assert [each.id for each in made(play, identifier)] == [f"{identifier}.2"]


def test_a_series_without_a_further_due_time_has_ended(play: Orchestra) -> None:
    play.submit("start: 9999-12-30T00:00:00Z\ntasks: {a: {type: step}}\nschedule: {cron: '0 0 1 1 *'}")
    assert stored.going_on(play.others) == []


def test_a_long_gap_is_made_up_for_in_small_transactions(play: Orchestra) -> None:
    identifier = begin(play, more=", catchup: true")
    play.clock.now_s += 1000 * 60 + 45
    play.lead()
    play.orchestrator.step()
    assert 0 < len(stored.waiting(play.others, identifier)) < 300
    play.step().step()
    assert len(stored.waiting(play.others, identifier)) == 999


def test_the_files_of_the_submit_travel_to_each_experiment(play: Orchestra) -> None:
    identifier = begin(play)
    with play.others.transaction():
        play.others.execute("INSERT INTO series_files (series, name, content) VALUES (?, 'x', ?)", (identifier, b"\0"))
    play.step(60)
    assert experiments.files(play.others, made(play, identifier)[0].seq) == {"x": b"\0"}


def test_a_time_zone_that_this_host_does_not_know_keeps_nobody_else_waiting(play: Orchestra) -> None:
    strange = begin(play)
    with play.others.transaction():
        play.others.execute("UPDATE series SET timezone = 'Mars/Olympus' WHERE id = ?", (strange,))
    play.lead()
    play.submit(f"{MINUTE}}}\n")
    play.step().step(60)
    assert len(play.tasks) == 1
    assert made(play, strange) == []
