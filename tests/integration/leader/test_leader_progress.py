"""How far steps are: from the workers' heartbeats to the store, bounded, and gone with the step."""

from __future__ import annotations

from tests.played_fleet import PlayedFleet, PlayedWorker
from wlmctl.message import StepProgress, TaskMessage
from wlmctl.store import events, progress
from wlmctl.store.progress import ProgressRow

ONE = "tasks: {a: {type: step}}"


def say(worker: PlayedWorker, message: TaskMessage, bytes_done: int) -> None:
    """The worker's next heartbeats say that the step is so far."""
    worker.progress = [
        StepProgress(message.key, "copying", bytes_done, 10_000, 1, 2, bytes_done, rate_bytes_s=100.0, left_s=75.5)
    ]


def rows(play: PlayedFleet, seq: int) -> list[ProgressRow]:
    return progress.of_experiments(play.others, [seq])


def told(play: PlayedFleet, seq: int) -> list[int]:
    """The bytes of each event that tells of progress."""
    return [event.values["bytes_done"] for event in events.events(play.others, seq) if event.kind == "progress"]


def test_the_store_knows_how_far_a_step_is_and_forgets_it_with_its_end(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    say(worker, worker.begin("a"), 2_500)
    play.step(3)
    (row,) = rows(play, seq)
    assert (row.what, row.bytes_done, row.bytes_total, row.files_done, row.rate_bytes_s) == (
        "copying", 2_500, 10_000, 1, 100.0,
    )  # fmt: skip
    assert row.left_s == 75.5
    worker.progress = []
    worker.end("a")
    play.step(3)
    assert rows(play, seq) == []
    assert play.others.row("SELECT count(*) FROM progress")[0] == 0


def test_events_tell_of_progress_ever_more_rarely(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.begin("a")
    for second in range(1, 101):
        say(worker, message, second)
        play.step(1)
    seen = told(play, seq)
    assert 3 <= len(seen) <= 4, "after about 10, 30 and 70 seconds"
    assert 8 <= seen[0] <= 14
    (first, *_) = (event for event in events.events(play.others, seq) if event.kind == "progress")
    assert first.values["left_s"] == 75.5


def test_the_store_is_written_at_a_bounded_rate_however_often_workers_say_how_far_they_are(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.begin("a")
    seen = set()
    for count in range(100):
        say(worker, message, count)
        worker.beat()
        play.step(0.1)
        seen |= {row.time for row in rows(play, seq)}
    assert 3 <= len(seen) <= 6, "10 s, a write each 2 s"


def test_what_a_worker_says_of_a_dispatch_that_is_not_its_own_counts_for_nothing(play: PlayedFleet) -> None:
    worker = play.worker("w")
    seq = play.submit(ONE)
    play.step()
    message = worker.begin("a")
    worker.progress = [
        StepProgress(message.key, "copying", 5),
        StepProgress(type(message.key)(seq, 0, 1, 99), "copying", 7),
        StepProgress(type(message.key)(999, 0, 1, 1), "copying", 9),
    ]
    play.step(3)
    assert [row.bytes_done for row in rows(play, seq)] == [5]
