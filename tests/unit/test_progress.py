from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.waiting import wait_until
from wlmctl.cli.progress import exit_code, follow
from wlmctl.cli.progress_lines import Lines, transfer_text
from wlmctl.cli.progress_live import LiveDisplay
from wlmctl.cli.progress_picture import Picture
from wlmctl.cli.stopping import Stopping
from wlmctl.errors import StoreError, StoreOutage, Unusable
from wlmctl.experiment.model import Experiment, Template
from wlmctl.runtime.engine import Transfer
from wlmctl.states import ExperimentState, TaskState
from wlmctl.store import Database, experiments, logs, open_database
from wlmctl.store.leases import LeaseLost
from wlmctl.store.record import Recorder

R, W, A, S = TaskState.READY, TaskState.WAITING, TaskState.ASSIGNED, TaskState.SUCCEEDED
RUNNING, FAILED = TaskState.RUNNING, TaskState.FAILED


@dataclass
class Play:
    """A store with one running experiment, and the moves that a run would make in it."""

    db: Database
    seq: int
    url: str

    def _record(self, write: Callable[[Recorder], None]) -> None:
        with self.db.transaction():
            recorder = Recorder(self.db, self.seq, time.time())
            write(recorder)
            recorder.flush()

    def move(self, idx: int, *states: TaskState, **changes: Any) -> None:
        """Take a task through these states; the changes belong to the last one."""
        for number, (source, target) in enumerate(itertools.pairwise(states), 2):
            last = changes if number == len(states) else {}
            self._record(lambda recorder, s=source, t=target, c=last: recorder.task(idx, s, t, **c))  # type: ignore[misc]

    def start(self, idx: int, machine: str = "nas") -> None:
        self.move(idx, W, R, A, machine=machine, attempt=1)
        self.move(idx, A, RUNNING)

    def end(self, target: ExperimentState) -> None:
        self._record(lambda recorder: recorder.experiment(ExperimentState.RUNNING, target, ended=time.time()))


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[dict[str, int]], Play]]:
    opened: list[Database] = []

    def make(groups: dict[str, int]) -> Play:
        url = f"sqlite:///{tmp_path}/store.db"
        db = open_database(url)
        opened.append(db)
        templates = tuple(
            Template(name, "job", {}, keys=("n",) if count > 1 else (), rows=_rows(count))
            for name, count in groups.items()
        )
        submission = experiments.Submission("pi-abcdef", "me", "host", "host", "run", time.time(), None, "{}", "0" * 64)
        with db.transaction():
            seq = experiments.create(db, Experiment("pi", templates), submission)
        return Play(db, seq, url)

    yield make
    for db in opened:
        db.close()


def _rows(count: int) -> tuple[tuple[str, ...], ...]:
    return ((),) if count == 1 else tuple((str(number),) for number in range(count))


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeWork:
    """Work that a test plays: ``act`` runs in a thread, as the work of a run does."""

    act: Callable[[FakeWork], None]
    problem: BaseException | None = None
    held: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.act(self)
        except BaseException as error:
            self.problem = error
        self.ended.set()

    def finished(self) -> bool:
        return self.ended.is_set()

    def error(self) -> BaseException | None:
        return self.problem

    def transfers(self) -> list[Transfer]:
        return []

    def holds(self) -> dict[str, str]:
        return self.held

    def stop(self) -> None:
        self.stopped.set()

    def join(self, timeout_s: float | None = None) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def own_play(play: Play) -> Play:
    """The same experiment by a connection of the calling thread."""
    return Play(open_database(play.url), play.seq, play.url)


def test_each_change_of_interest_is_one_plain_line(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1, "simulate": 3})
    told: list[str] = []
    lines = Lines(picture := Picture(acted.db, [acted.seq]), told.append)
    other = own_play(acted)
    other.start(0)
    other.move(0, RUNNING, S)
    other.start(2, "gpu")
    other.move(2, RUNNING, W, attempt=2, due=time.time() + 30, reason="exit code 3")
    other.move(3, W, TaskState.SKIPPED, reason="needs setup")
    other.db.close()
    lines.show(picture.read(), [], {})
    assert [line.partition(" ")[2] for line in told] == [
        "setup: started on nas",
        "setup: succeeded",
        "simulate[1]: started on gpu",
        "simulate[1]: tries again in 30s: exit code 3",
        "simulate[2]: skipped: needs setup",
    ]


def test_a_reason_that_has_control_characters_cannot_paint_the_terminal(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1})
    told: list[str] = []
    lines = Lines(picture := Picture(acted.db, [acted.seq]), told.append)
    other = own_play(acted)
    other.start(0)
    other.move(0, RUNNING, FAILED, reason="\x1b[31mred\nsecond line")
    other.db.close()
    lines.show(picture.read(), [], {})
    assert told[-1].endswith("setup: failed: \\x1b[31mred")


def test_many_instances_are_told_by_numbers_and_at_most_five_times_a_second(
    play: Callable[[dict[str, int]], Play],
) -> None:
    acted = play({"simulate": 3000})
    told: list[str] = []
    clock = Clock()
    lines = Lines(picture := Picture(acted.db, [acted.seq]), told.append, clock)
    other = own_play(acted)
    with other.db.transaction():
        recorder = Recorder(other.db, other.seq, time.time())
        for idx in range(1000):
            for source, target in ((W, R), (R, A), (A, RUNNING)):
                recorder.task(idx, source, target)
        recorder.flush()
    for idx in range(500):
        other.move(idx, RUNNING, FAILED if idx < 100 else S, reason="exit code 1" if idx < 100 else None)
        clock.now += 0.01
        lines.show(picture.read(), [], {})
    lines.end()
    other.db.close()
    numbers = [line for line in told if " have ended" in line]
    assert len(numbers) <= 5 * 5 + 1
    assert numbers[-1].partition(" ")[2] == "simulate: 500 of 3000 have ended, 500 under way, 100 failed"
    assert len(told) - len(numbers) == 10, "the first failures are told one by one"


def test_a_held_machine_is_told_with_its_reason_and_its_return(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1})
    told: list[str] = []
    lines = Lines(Picture(acted.db, [acted.seq]), told.append)
    lines.show([], [], {"nas": "no route to host"})
    lines.show([], [], {"nas": "no route to host"})
    lines.show([], [], {})
    assert [line.partition(" ")[2] for line in told] == [
        "machine nas is held, its tasks wait: no route to host",
        "machine nas answers again",
    ]


def test_ready_tasks_that_nobody_starts_are_told_once(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1})
    acted.move(0, W, R)
    told: list[str] = []
    lines = Lines(Picture(acted.db, [acted.seq]), told.append, clock := Clock())
    for _ in range(300):
        clock.now += 0.1
        lines.show([], [], {})
    assert [line.partition(" ")[2] for line in told] == [
        "pi-abcdef: 1 ready task waits for room on a machine that other experiments use"
    ]


def test_a_transfer_is_told_with_its_rate_and_the_time_left() -> None:
    transfer = Transfer(1, "fetch", "points.csv", 1 << 30, 3 << 30, 0, 1, 100.0 * (1 << 20), 20.5)
    assert transfer_text(transfer) == "points.csv 1.0 GiB of 3.0 GiB, 100 MiB/s, 20s left"


def test_the_counts_are_those_of_the_store(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1, "simulate": 40})
    acted.start(0)
    picture = Picture(acted.db, [acted.seq])
    other = own_play(acted)
    for idx in range(1, 20):
        other.start(idx)
        other.move(idx, RUNNING, S if idx % 2 else FAILED)
    other.db.close()
    picture.read()
    [followed] = picture.experiments.values()
    assert {state: count for state, count in followed.counts.items() if count} == experiments.counts(
        acted.db, acted.seq
    )
    assert [(group.name, group.total) for group in followed.groups] == [("setup", 1), ("simulate", 40)]


def test_a_run_that_fails_ends_with_1_and_shows_the_last_lines_of_stderr(
    play: Callable[[dict[str, int]], Play], capsys: pytest.CaptureFixture[str]
) -> None:
    acted = play({"simulate": 2})

    def act(work: FakeWork) -> None:
        own = own_play(acted)
        for idx in (0, 1):
            own.start(idx)
        own.move(0, RUNNING, S)
        with own.db.transaction():
            logs.put(own.db, own.seq, 1, 1, b"", b"\n".join(b"line %d" % n for n in range(30)))
        own.move(1, RUNNING, FAILED, reason="exit code 2", attempt=1)
        own.end(ExperimentState.FAILED)
        own.db.close()

    with Stopping() as stopping:
        code = follow(FakeWork(act), acted.url, [acted.seq], "text", stopping)
    stdout, stderr = capsys.readouterr()
    assert (code, stdout) == (1, "")
    assert "pi-abcdef: failed: 1 succeeded, 1 failed" in stderr
    assert "simulate[1]: exit code 2\n" in stderr
    assert "    line 29\n" in stderr
    assert "line 19\n" not in stderr


def test_json_is_one_object_a_line_and_ends_with_the_state(
    play: Callable[[dict[str, int]], Play], capsys: pytest.CaptureFixture[str]
) -> None:
    acted = play({"simulate": 1})

    def act(work: FakeWork) -> None:
        own = own_play(acted)
        own.start(0)
        own.move(0, RUNNING, S)
        own.end(ExperimentState.SUCCEEDED)
        own.db.close()

    with Stopping() as stopping:
        assert follow(FakeWork(act), acted.url, [acted.seq], "json", stopping) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert objects[0] == {
        "version": 1, "experiment": "pi-abcdef", "kind": "begin", "state": "running", "task_count": 1
    }  # fmt: skip
    assert objects[-1] == {"version": 1, "experiment": "pi-abcdef", "kind": "end", "state": "succeeded"}
    assert [each["to"] for each in objects if each.get("task") == "simulate"] == [
        "ready", "assigned", "running", "succeeded",
    ]  # fmt: skip


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_stops_the_work_and_says_how_to_go_on(
    number: signal.Signals, code: int, play: Callable[[dict[str, int]], Play], capsys: pytest.CaptureFixture[str]
) -> None:
    acted = play({"simulate": 1})

    def act(work: FakeWork) -> None:
        os.kill(os.getpid(), number)
        assert work.stopped.wait(60)

    with Stopping() as stopping:
        assert follow(work := FakeWork(act), acted.url, [acted.seq], "text", stopping) == code
    assert work.problem is None
    assert "pi-abcdef has not ended: wlmctl resume pi-abcdef goes on with it" in capsys.readouterr().err


def test_a_machine_held_at_the_end_is_not_said_to_answer(
    play: Callable[[dict[str, int]], Play], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acted = play({"simulate": 1})
    asked: list[FakeWork] = []

    def holds(work: FakeWork) -> dict[str, str]:
        asked.append(work)
        return {"nas": "machine nas: connection refused"}

    monkeypatch.setattr(FakeWork, "holds", holds)

    def act(work: FakeWork) -> None:
        wait_until(lambda: len(asked) > 1, "the first answer has been shown")
        os.kill(os.getpid(), signal.SIGINT)
        assert work.stopped.wait(60)

    with Stopping() as stopping:
        assert follow(FakeWork(act), acted.url, [acted.seq], "text", stopping) == 130
    said = capsys.readouterr().err
    assert "machine nas is held, its tasks wait: connection refused" in said
    assert "answers again" not in said


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_ends_the_process_at_once(name: str, code: int) -> None:
    program = (
        "import os, signal, time\n"
        "from wlmctl.cli.stopping import Stopping\n"
        "with Stopping() as stopping:\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    assert stopping.is_asked\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    raise SystemExit(99)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == code


def test_a_lost_lease_is_told_in_one_line(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"simulate": 1})

    def act(work: FakeWork) -> None:
        raise LeaseLost("experiment:1")

    with Stopping() as stopping, pytest.raises(Unusable, match="another process has taken over"):
        follow(FakeWork(act), acted.url, [acted.seq], "text", stopping)


def test_a_broken_store_ends_the_run_with_its_own_error(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"simulate": 1})

    def act(work: FakeWork) -> None:
        raise StoreError("store x: the disk is full")

    with Stopping() as stopping, pytest.raises(StoreError, match="disk is full"):
        follow(FakeWork(act), acted.url, [acted.seq], "text", stopping)


def test_a_run_that_has_ended_waits_for_a_store_that_does_not_answer_before_it_tells_how(
    play: Callable[[dict[str, int]], Play],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    acted, lost, read = play({"simulate": 1}), list[StoreOutage](), Picture.read

    def act(_: FakeWork) -> None:
        own = own_play(acted)
        own.start(0)
        own.move(0, RUNNING, S)
        own.end(ExperimentState.SUCCEEDED)
        own.db.close()

    work = FakeWork(act)

    def reads(picture: Picture, **how: Any) -> Any:
        while work.finished() and len(lost) < 3:
            lost.append(StoreOutage("store x: it does not answer"))
            assert picture._db.patience is not None
            picture._db.patience(lost[-1])
        return read(picture, **how)

    monkeypatch.setattr(Picture, "read", reads)
    with Stopping() as stopping:
        assert follow(work, acted.url, [acted.seq], "text", stopping) == 0
    assert "pi-abcdef: succeeded" in capsys.readouterr().err
    assert [record.message for record in caplog.records] == ["store x: it does not answer; waiting for it"]


@pytest.mark.parametrize(
    ("states", "code"),
    [(["succeeded"], 0), (["succeeded", "cancelled"], 5), (["cancelled", "failed"], 1), (["failed"], 1)],
)
def test_the_exit_code_is_that_of_the_worst_end(states: list[str], code: int) -> None:
    assert exit_code(states) == code


def test_the_live_display_shows_tasks_transfers_and_held_machines(play: Callable[[dict[str, int]], Play]) -> None:
    acted = play({"setup": 1, "simulate": 4, **{f"part{number}": 1 for number in range(40)}})
    acted.start(1)
    acted.start(2)
    acted.move(2, RUNNING, FAILED)
    console = Console(file=(out := io.StringIO()), force_terminal=True, width=100, height=20, color_system=None)
    display = LiveDisplay(Picture(acted.db, [acted.seq]), console)
    transfer = Transfer(acted.seq, "fetch", "a.csv", 1 << 20, 1 << 21, 0, 1, 1 << 20, 1.0)
    console.print(display.render([transfer], {"nas": "no route to host"}))
    text = out.getvalue()
    assert "pi-abcdef  running" in text
    assert "1/4 " in text
    assert "1 running" in text
    assert "1 failed" in text
    assert "a.csv 1.0 MiB of 2.0 MiB, 1.0 MiB/s, 1.0s left" in text
    assert "machine nas is held, its tasks wait: no route to host" in text
    assert " more" in text
    assert len(text.splitlines()) <= 20
