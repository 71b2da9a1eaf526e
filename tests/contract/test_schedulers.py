"""Every built-in scheduler keeps the contract that third parties' schedulers keep."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import Assignment, Decision, SchedulerFactory
from wlmctl.testing.builders import make_group, make_snapshot, make_view
from wlmctl.testing.decisions import problems
from wlmctl.testing.scheduler import SchedulerContract


class TestFifo(SchedulerContract):
    @pytest.fixture
    def factory(self) -> SchedulerFactory:
        return scheduler_factory("fifo")


class TestMatchmaking(SchedulerContract):
    @pytest.fixture
    def factory(self) -> SchedulerFactory:
        return scheduler_factory("matchmaking")


EXAMPLE = Path(__file__).parents[2] / "examples/plugin/wlmctl_example/newest.py"


class TestExample(SchedulerContract):
    """A third party's scheduler, in thirty lines."""

    @pytest.fixture
    def factory(self) -> SchedulerFactory:
        factory: SchedulerFactory = runpy.run_path(str(EXAMPLE))["Newest"]
        return factory

    def test_it_has_thirty_lines(self) -> None:
        assert len(EXAMPLE.read_text().splitlines()) <= 30


@pytest.mark.parametrize(
    ("assignments", "problem"),
    [
        ([Assignment("x/1", "m", "w")], "x/1 is no ready task"),
        ([Assignment("g/1", "m", "w")] * 2, "g/1 is assigned 2 times"),
        ([Assignment("g/1", "m", "nobody")], "no live worker"),
        ([Assignment("g/1", "n", "w")], "its machine is m"),
        ([Assignment(f"g/{n}", "m", "w") for n in range(1, 6)], "1 tasks more than it has free slots"),
        ([Assignment(f"g/{n}", "m", None) for n in range(1, 6)], "1 of 5 tasks for any worker"),
        ([Assignment(f"g/{n}", "m", "w") for n in range(1, 4)], "tasks with 3 cpus for m, which has 2 free"),
        ([Assignment(f"g/{n}", "m", "w") for n in range(1, 3)], "which may start 1"),
        ([Assignment(f"g/{n}", "m", "w") for n in range(1, 3)], "4 of counter c are taken, 3 are left"),
    ],
)
def test_the_suite_notices_a_decision_that_the_core_would_refuse(assignments: list[Assignment], problem: str) -> None:
    group = [make_group("g", 5, may_start=1, counters=(("c", 2),))]
    snapshot = make_snapshot(group, machines=[make_view(cpus=4, free_cpus=2)], counters={"c": 3})
    assert any(problem in found for found in problems(snapshot, Decision(assignments)))
