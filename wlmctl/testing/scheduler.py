"""The contract suite of schedulers: what the core relies on, whatever the policy."""

from __future__ import annotations

import builtins
import copy
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from wlmctl.machine import Requirement
from wlmctl.role_classes import decide
from wlmctl.scheduler import Binding, Decision, Scheduler, SchedulerFactory, Snapshot, UnboundRole
from wlmctl.task import Resources
from wlmctl.testing.builders import make_group, make_role_class, make_snapshot, make_view, make_worker, random_snapshot
from wlmctl.testing.decisions import problems


class SchedulerContract:
    """Subclass this and give the fixture ``factory``: the plugin's ``factory(options) -> Scheduler``.

    A fixture ``options`` (default: none) gives the options it is made with.
    """

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        """Options for the factory."""
        return {}

    @pytest.fixture
    def make(self, factory: SchedulerFactory, options: dict[str, Any]) -> Callable[[], Scheduler]:
        """A new scheduler with each call."""
        return lambda: factory(options)

    @pytest.fixture
    def scheduler(self, make: Callable[[], Scheduler]) -> Scheduler:
        """The scheduler under test."""
        return make()

    def test_nothing_to_do_gives_no_assignment(self, scheduler: Scheduler) -> None:
        assert list(scheduler.assign(make_snapshot()).assignments) == []

    def test_a_task_that_fits_is_started_at_once(self, scheduler: Scheduler) -> None:
        assert started(scheduler, make_snapshot([make_group("g")])) == ["g/1"]

    def test_all_free_slots_are_used_and_no_more(self, scheduler: Scheduler) -> None:
        workers = [make_worker("w1", 2), make_worker("w2", 1)]
        assert len(started(scheduler, make_snapshot([make_group("g", 9)], workers))) == 3

    def test_a_machine_gets_no_more_than_it_has_free(self, scheduler: Scheduler) -> None:
        group = make_group("g", 9, resources=Resources(cpus=3))
        assert len(started(scheduler, make_snapshot([group], [make_worker(free_slots=9)]))) == 2

    def test_a_task_that_asks_for_no_cpus_waits_for_none(self, scheduler: Scheduler) -> None:
        group = make_group("g", type="stage", resources=Resources(cpus=0))
        snapshot = make_snapshot([group], machines=[make_view(free_cpus=0)])
        assert started(scheduler, snapshot) == ["g/1"]

    def test_a_machine_that_queues_is_given_more_than_is_free(self, scheduler: Scheduler) -> None:
        view = make_view(cpus=8, free_cpus=0, queueing=True, jobs_left=3)
        snapshot = make_snapshot([make_group("g", 9)], [make_worker(free_slots=9)], [view])
        assert len(started(scheduler, snapshot)) == 3

    def test_a_held_machine_gets_nothing_and_the_others_go_on(self, scheduler: Scheduler) -> None:
        worker = make_worker(machines=frozenset({"m", "n"}))
        groups = [make_group("held"), make_group("free", machine="n")]
        views = [make_view("m", held=True), make_view("n")]
        assert started(scheduler, make_snapshot(groups, [worker], views)) == ["free/1"]

    def test_an_experiments_cap_holds_over_all_its_groups(self, scheduler: Scheduler) -> None:
        groups = [make_group(name, 2, experiment="e-aaaaaa", may_start=3) for name in ("a", "b")]
        assert len(started(scheduler, make_snapshot(groups))) == 3

    def test_a_counter_is_shared_by_all_groups_on_all_machines(self, scheduler: Scheduler) -> None:
        worker = make_worker(free_slots=9, machines=frozenset({"m", "n"}))
        groups = [make_group("a", 3, counters=(("c", 2),)), make_group("b", 3, machine="n", counters=(("c", 1),))]
        snapshot = make_snapshot(groups, [worker], [make_view("m"), make_view("n")], counters={"c": 4})
        taken = [task.partition("/")[0] for task in started(scheduler, snapshot)]
        assert taken.count("a") * 2 + taken.count("b") in (3, 4)

    def test_a_task_that_a_counter_blocks_is_not_put_before_one_that_can_run(self, scheduler: Scheduler) -> None:
        groups = [
            make_group("blocked", priority=9, counters=(("c", 2),)),
            make_group("unknown", priority=8, counters=(("nowhere", 1),)),
            make_group("small", order=1, counters=(("c", 1),)),
            make_group("free", order=2),
        ]
        snapshot = make_snapshot(groups, counters={"c": 1})
        assert started(scheduler, snapshot) == ["free/1", "small/1"]

    def test_a_task_that_max_jobs_blocks_is_not_put_before_one_that_can_run(self, scheduler: Scheduler) -> None:
        worker = make_worker(free_slots=1, machines=frozenset({"m", "n"}))
        groups = [make_group("blocked", priority=9), make_group("free", machine="n", order=1)]
        views = [make_view("m", jobs_left=0), make_view("n")]
        assert started(scheduler, make_snapshot(groups, [worker], views)) == ["free/1"]

    def test_an_experiment_at_its_cap_is_not_put_before_one_that_can_run(self, scheduler: Scheduler) -> None:
        groups = [make_group("capped", 3, priority=9, may_start=1), make_group("free", 3, order=1)]
        assert started(scheduler, make_snapshot(groups, [make_worker(free_slots=2)])) == ["capped/1", "free/1"]

    def test_a_higher_priority_goes_first(self, scheduler: Scheduler) -> None:
        groups = [make_group("low", priority=2, order=1), make_group("high", priority=8, order=2)]
        assert started(scheduler, make_snapshot(groups, [make_worker(free_slots=1)])) == ["high/1"]

    def test_a_task_that_fits_is_not_kept_waiting_by_one_that_never_does(self, scheduler: Scheduler) -> None:
        groups = [make_group("huge", resources=Resources(cpus=99), priority=9), make_group("small", order=1)]
        assert started(scheduler, make_snapshot(groups)) == ["small/1"]

    def test_a_group_that_nobody_can_do_has_a_reason(self, scheduler: Scheduler) -> None:
        group = make_group("g", worker_labels=("elsewhere",))
        decision = scheduler.assign(make_snapshot([group]))
        assert list(decision.assignments) == []
        assert decision.reasons["g"].code
        assert decision.reasons["g"].text

    def test_a_role_is_bound_to_a_machine_that_fits(self, scheduler: Scheduler) -> None:
        group = make_group("g", machine=None, unbound="compute")
        role = UnboundRole(group.experiment, "compute", Requirement(labels=("gpu",)), ("g",))
        worker = make_worker(machines=frozenset({"m", "n"}))
        views = [make_view("m"), make_view("n", labels=("gpu",))]
        decision = good(scheduler, make_snapshot([group], [worker], views, roles=(role,)))
        assert list(decision.bindings) == [Binding(group.experiment, "compute", "n")]

    def test_a_role_that_no_machine_fits_stays_unbound_and_has_a_reason(self, scheduler: Scheduler) -> None:
        group = make_group("g", machine=None, unbound="compute")
        role = UnboundRole(group.experiment, "compute", Requirement(cpus=999), ("g",))
        decision = good(scheduler, make_snapshot([group], roles=(role,)))
        assert list(decision.bindings) == []
        assert decision.reasons["g"].text

    def test_each_role_of_an_each_is_bound_by_its_own_name(self, scheduler: Scheduler) -> None:
        group, alike = make_role_class("g", 3, requires=Requirement(labels=("gpu",)))
        worker = make_worker(machines=frozenset({"m", "n"}))
        views = [make_view("m"), make_view("n", labels=("gpu",))]
        decision = good(scheduler, make_snapshot([group], [worker], views, role_classes=(alike,)))
        assert sorted(decision.bindings, key=lambda each: each.role) == [
            Binding(group.experiment, f"compute[{number}]", "n") for number in (1, 2, 3)
        ]

    def test_of_roles_of_an_each_that_no_machine_fits_none_is_bound_and_their_group_has_a_reason(
        self, scheduler: Scheduler
    ) -> None:
        group, alike = make_role_class("g", 3, requires=Requirement(cpus=999))
        decision = good(scheduler, make_snapshot([group], role_classes=(alike,)))
        assert list(decision.bindings) == []
        assert decision.reasons["g"].text

    @pytest.mark.parametrize("seed", range(50))
    def test_no_decision_is_one_that_the_core_refuses(self, scheduler: Scheduler, seed: int) -> None:
        for offset in range(10):
            good(scheduler, random_snapshot(seed * 10 + offset))

    def test_a_decision_depends_on_the_snapshot_alone_and_leaves_it_as_it_was(
        self, make: Callable[[], Scheduler]
    ) -> None:
        kept = make()
        for seed in range(50):
            snapshot = random_snapshot(seed)
            before = copy.deepcopy(snapshot)
            first = decide(kept, snapshot)
            assert snapshot == before
            assert first == decide(kept, before) == decide(make(), before)

    def test_it_does_no_io_and_reads_no_clock(self, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
        decide(scheduler, random_snapshot(3))  # what it imports at first use is no concern

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a scheduler does no I/O, reads no clock and draws no random numbers of its own")

        snapshots = [random_snapshot(seed) for seed in range(20)]
        with monkeypatch.context() as patch:
            for module, name in ((time, "time"), (time, "time_ns"), (builtins, "open"), (socket, "socket")):
                patch.setattr(module, name, refuse)
            patch.setattr(random, "random", refuse)
            decisions = [decide(scheduler, snapshot) for snapshot in snapshots]
        assert len(decisions) == len(snapshots)

    def test_ten_thousand_ready_tasks_are_decided_on_in_two_seconds(self, scheduler: Scheduler) -> None:
        groups = [make_group(f"g{number}", 1000, order=number) for number in range(10)]
        worker = make_worker(free_slots=2000)
        snapshot = make_snapshot(groups, [worker], [make_view(cpus=5000)])
        before = time.perf_counter()
        decision = scheduler.assign(snapshot)
        assert time.perf_counter() - before < 2
        assert len(decision.assignments) == 2000


def good(scheduler: Scheduler, snapshot: Snapshot) -> Decision:
    """The scheduler's decision, which must be one that the core can act on."""
    decision = decide(scheduler, snapshot)
    assert problems(snapshot, decision) == []
    return decision


def started(scheduler: Scheduler, snapshot: Snapshot) -> list[str]:
    """The tasks that a good decision starts."""
    return sorted(item.task for item in good(scheduler, snapshot).assignments)
