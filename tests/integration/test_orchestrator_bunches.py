"""What is started together on a machine: a bunch is sent ahead, to one worker, and counted by the jobs it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import play as played
from tests.orchestra import Orchestra
from tests.play import DEFERRED, DONE, Clock, Play, PlaySpec, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from wlmctl.message import Outcome, TaskKey
from wlmctl.orchestrator.window import BUNCH
from wlmctl.task import Deferred

Start = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class PackedSpec(PlaySpec):
    pack: int = 1


class Gathered(Play):
    """A type whose attempts are started together on machines with a queue."""

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> PackedSpec:
        return PackedSpec(**mapping)

    def execute_many(self, members: Sequence[Any]) -> Sequence[Deferred]:
        raise AssertionError("the play answers for the worker")

    def pack(self, spec: PackedSpec) -> int:
        return spec.pack


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    clock, opened = Clock(), list[Orchestra]()
    play_types(monkeypatch, clock)
    monkeypatch.setitem(played._TYPES, "gathered", Gathered())
    monkeypatch.setattr("wlmctl.plugins.gathers", lambda name, machine: name == "gathered" and machine.has_queue)

    def opener(kind: type[Orchestra] = Orchestra, max_jobs: int | None = None) -> Orchestra:
        far = machine("far", batch="slurm", max_jobs=max_jobs)
        opened.append(kind(tmp_path, inventory(far), clock=clock))
        return opened[-1]

    yield opener
    for orchestra in opened:
        orchestra.close()


def jobs(count: int, more: str = "") -> str:
    return f"tasks: {{j: {{type: gathered, machine: far, foreach: {{n: 1..{count}}}{more}}}}}"


def test_a_bunch_is_sent_ahead_and_the_next_when_it_has_been_started(start: Start) -> None:
    orchestra = start()
    orchestra.submit(jobs(250))
    assert len(orchestra.step().tasks) == BUNCH
    for name in orchestra.names():
        orchestra.end(name, DEFERRED)
    assert len(orchestra.step().tasks) == BUNCH
    for name in orchestra.names():
        orchestra.end(name, DEFERRED)
    assert len(orchestra.step().tasks) == 50


def test_a_bunch_takes_one_slot_and_what_else_is_ready_gets_the_others(start: Start) -> None:
    orchestra = start()
    orchestra.submit(f"{jobs(250)[:-1]}, s: {{type: step, foreach: {{n: 1..30}}}}}}")
    orchestra.step()
    assert sum(task.type == "gathered" for task in orchestra.tasks) == BUNCH
    # one that waits beside each that executes, and the bunch is one of them
    assert sum(task.type == "step" for task in orchestra.tasks) == 2 * orchestra.slots - 1


def test_an_urgent_experiment_is_sent_although_a_bunch_is_under_way(start: Start) -> None:
    orchestra = start()
    orchestra.submit(jobs(250))
    orchestra.step()
    orchestra.submit(f"priority: urgent\n{jobs(3)}")
    orchestra.step()
    assert sum(task.priority == 8 for task in orchestra.tasks) == 3


def test_packs_are_sent_whole_and_each_counts_as_one_job_of_the_queue(start: Start) -> None:
    orchestra = start(max_jobs=3)
    orchestra.submit(jobs(250, ", pack: 40"))
    assert len(orchestra.step().tasks) == 80, "two packs: a third would be more than a bunch"
    for number, name in enumerate(sorted(orchestra.names())):
        orchestra.end(name, Outcome("deferred", handle={"job": number, "shares": f"pack-{number // 40}"}))
    assert len(orchestra.step().tasks) == 40, "two jobs are in the queue, of three that may be"
    for name in orchestra.names():
        orchestra.end(name, Outcome("deferred", handle={"job": name, "shares": "pack-2"}))
    assert orchestra.step().tasks == []
    kept = set[TaskKey]()

    def ended(key: TaskKey) -> Outcome:
        return Outcome("running") if key in kept else DONE

    for _ in range(2):  # the first poll has asked for the first two packs
        (poll,) = orchestra.step(2).polls()
        kept |= {next(each.key for each in poll.deferrals if each.handle["shares"] == "pack-0")}
        orchestra.answer(poll, ended)
    assert len(orchestra.step(2).tasks) == 80, "one job is left, since one of its pack has not ended"


def test_jobs_beside_packs_stay_within_the_limit_of_the_queue(start: Start) -> None:
    orchestra = start(max_jobs=2)
    orchestra.submit(f"{jobs(100)[:-1]}, p: {{type: gathered, machine: far, pack: 50, foreach: {{n: 1..100}}}}}}")
    orchestra.step()
    assert len(orchestra.tasks) == 2


def test_all_of_a_bunch_goes_to_the_worker_that_asks_the_machine(start: Start) -> None:
    fleet = start(PlayedFleet)
    for name in ("a", "b", "c"):
        fleet.worker(name, types=("step", "play", "gathered"))
    fleet.step(2)
    fleet.submit(jobs(150))
    fleet.step(1)
    (asked,) = [worker for worker in fleet.workers if worker.names()]
    assert len(asked.names()) == BUNCH
    for name in asked.names():
        asked.end(name, DEFERRED)
    fleet.step(1)
    assert [worker.info.name for worker in fleet.workers if worker.names()] == [asked.info.name]


def test_a_bunch_that_is_handed_back_goes_to_another_worker_as_a_whole(start: Start) -> None:
    fleet = start(PlayedFleet)
    for name in ("a", "b", "c"):
        fleet.worker(name, types=("step", "play", "gathered"))
    fleet.step(2)
    fleet.submit(jobs(20))
    fleet.step(1)
    (asked,) = [worker for worker in fleet.workers if worker.names()]
    asked.drain()
    fleet.step(1)
    for name in asked.names():
        asked.hand_back(name, "draining")
    fleet.step(2)
    (other,) = [worker for worker in fleet.workers if worker is not asked and worker.names()]
    assert len(other.names()) == 20
