"""Very many open roles of one ``each``: a look at them does as much as one at a few."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.orchestra import Orchestra
from tests.play import Clock, inventory, machine, play_types
from wlmctl.orchestrator.dispatching import Dispatcher
from wlmctl.scheduler import Assignment, Binding, Decision, Scheduler, Snapshot

FEW, MANY = 2_000, 20_000


class Starts(Scheduler):
    """Starts as many tasks as there are slots, each with its role; it looks at no more of a class than that."""

    by_class = True

    def assign(self, snapshot: Snapshot) -> Decision:
        free = sum(worker.free_slots for worker in snapshot.workers)
        tasks, bindings = list[Assignment](), list[Binding]()
        for group in snapshot.groups:
            for number, task in enumerate(group.tasks[: free - len(tasks)]):
                where = group.machine or "m"
                if group.own_roles:
                    bindings.append(Binding(group.experiment, group.own_roles[number], where))
                tasks.append(Assignment(task, where))
        return Decision(tasks, bindings)


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many functions are called in the meantime, by this thread."""
    calls = [0]

    def count(_frame: Any, event: str, _: Any) -> None:
        calls[0] += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


class Many:
    """An orchestrator with an experiment of so many values, all of whose first tasks are ready."""

    def __init__(self, folder: Path, clock: Clock, tasks: str, count: int) -> None:
        self.calls = list[int]()
        folder.mkdir()
        machines = inventory(machine("m", labels=("x",), cpus=999))
        self.play = Orchestra(folder, machines, clock=clock, scheduler=Starts(), slots=8)
        self.play.submit(
            "machines: {r: {requires: {labels: [x]}, each: n}}\ntasks:\n" + tasks.replace("MANY", str(count))
        )
        begun_s = time.process_time()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dispatcher, "dispatch", lambda *_: (False, set()))
            while self._ready() < count:
                self.play.step()
        self.taken_up_s = time.process_time() - begun_s

    def _ready(self) -> int:
        groups = [group for work in self.play.orchestrator.works.values() for group in work.ready.values()]
        return sum(len(group.tasks) for group in groups)

    def look(self) -> float:
        """Look until nothing follows: ``calls`` are those of each look; the seconds that all of them take."""
        begun_s, real = time.process_time(), Dispatcher.dispatch

        def dispatch(dispatcher: Dispatcher, *args: Any) -> Any:
            with counted() as calls:
                found = real(dispatcher, *args)
            self.calls.append(calls[0])
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Dispatcher, "dispatch", dispatch)
            self.play.step(2)
        return time.process_time() - begun_s


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], Many]]:
    clock, opened = Clock(), list[Many]()
    play_types(monkeypatch, clock)

    def opener(tasks: str, count: int) -> Many:
        opened.append(Many(tmp_path / str(count), clock, tasks, count))
        return opened[-1]

    yield opener
    for each in opened:
        each.play.close()


ONE = "  a: {type: step, machine: r, foreach: {n: 1..MANY}}\n"
TWO = "  b: {type: play, machine: r, needs: ['a[${n}]'], foreach: {n: 1..MANY}, resources: {cpus: 2}}\n"


@pytest.mark.parametrize("tasks", [ONE, ONE + TWO])
def test_a_look_does_the_same_however_many_roles_are_open(many: Callable[[str, int], Many], tasks: str) -> None:
    found = [many(tasks, count) for count in (FEW, MANY)]
    for each in found:
        each.look()
        assert len(each.play.tasks) == 16, "two for each slot"
        for message in [*each.play.tasks]:
            each.play.end(message)
        each.look()
        assert len(each.play.tasks) >= 16
    few, most = (each.calls for each in found)
    assert max(most) < 1.1 * max(few), f"{few} and {most}"


def test_the_time_that_an_experiment_takes_to_be_looked_at_does_not_grow_with_the_square_of_its_values(
    many: Callable[[str, int], Many],
) -> None:
    few_s, most_s = (each.taken_up_s + each.look() for each in (many(ONE + TWO, FEW), many(ONE + TWO, MANY)))
    assert most_s < 4 * (MANY / FEW) * few_s
