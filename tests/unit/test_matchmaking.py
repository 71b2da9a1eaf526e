"""The scheduler ``matchmaking``: who goes first and where, what is kept for whom, what it says of those that wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from wlmctl.errors import ConfigError
from wlmctl.machine import Requirement
from wlmctl.plugins import scheduler_factory
from wlmctl.scheduler import (
    Assignment,
    Binding,
    Decision,
    Group,
    Reservation,
    RoleNeed,
    RunningTask,
    Snapshot,
    UnboundRole,
    Usage,
)
from wlmctl.task import Resources
from wlmctl.testing.builders import make_group, make_snapshot, make_view, make_worker
from wlmctl.testing.decisions import problems

HOUR_S = 3600.0
NOW_S = 1_700_000_000.0


def decide(snapshot: Snapshot, **options: Any) -> Decision:
    decision = scheduler_factory("matchmaking")(options).assign(snapshot)
    assert problems(snapshot, decision) == []
    return decision


def started(snapshot: Snapshot, **options: Any) -> list[str]:
    return [item.task for item in decide(snapshot, **options).assignments]


def placed(decision: Decision) -> dict[str, str | None]:
    return {item.task: item.machine for item in decision.assignments}


def slots(groups: Sequence[Group], count: int, **settings: Any) -> Snapshot:
    return make_snapshot(groups, [make_worker(free_slots=count)], [make_view(cpus=None)], **settings)


# --- by slots alone


def test_a_task_with_a_choice_makes_way_for_one_without() -> None:
    workers = [
        make_worker("both", 1, types=frozenset({"job", "stage"})),
        make_worker("jobs", 1, types=frozenset({"job"})),
    ]
    groups = [make_group("j", order=1), make_group("s", type="stage", order=2)]
    decision = decide(make_snapshot(groups, workers))
    assert {item.task: item.worker for item in decision.assignments} == {"j/1": "jobs", "s/1": "both"}


def test_a_later_band_moves_tasks_of_an_earlier_one_and_never_pushes_them_out() -> None:
    workers = [
        make_worker("both", 1, types=frozenset({"job", "stage"})),
        make_worker("jobs", 1, types=frozenset({"job"})),
    ]
    groups = [make_group("j", 2, priority=8), make_group("s", type="stage", priority=2)]
    assert started(make_snapshot(groups, workers)) == ["j/1", "j/2"]


def test_a_rare_worker_is_left_free_where_a_common_one_will_do() -> None:
    workers = [
        make_worker("a-rare", 1, labels=frozenset({"gpu"})),
        make_worker("b", 1),
        make_worker("c", 1),
    ]
    groups = [make_group("plain"), make_group("rare", worker_labels=("gpu",), priority=1, may_start=0)]
    [item] = decide(make_snapshot(groups, workers)).assignments
    assert item.worker in ("b", "c")


def test_any_worker_will_do_where_no_other_tasks_can_go_to_one_of_them() -> None:
    workers = [make_worker("w1", 2), make_worker("w2", 2)]
    assert {item.worker for item in decide(make_snapshot([make_group("g", 3)], workers)).assignments} == {None}


@pytest.mark.parametrize(
    ("placement", "expected"),
    [(None, {"big": 3, "small": 1}), ("spread", {"big": 3, "small": 1}), ("pack", {"small": 2, "big": 2})],
)
def test_tasks_are_spread_over_the_workers_of_a_class_or_packed(
    placement: str | None, expected: dict[str, int]
) -> None:
    labels = frozenset({"x"})
    workers = [
        make_worker("big", 4, labels=labels),
        make_worker("small", 2, labels=labels),
        make_worker("z-plain", 1),
    ]
    groups = [
        make_group("g", 4, worker_labels=("x",)),
        make_group("other", priority=0),  # competes: so workers are named
    ]
    options = {} if placement is None else {"placement": placement}
    decision = decide(make_snapshot(groups, workers), **options)
    assert Counter(item.worker for item in decision.assignments if item.task != "other/1") == expected
    assert decision.assignments[-1] == Assignment("other/1", "m", "z-plain")


# --- bands


def test_a_higher_priority_goes_first_then_who_was_submitted_first() -> None:
    groups = [make_group("late", order=2), make_group("early", order=1), make_group("urgent", priority=8, order=3)]
    assert started(slots(groups, 2)) == ["urgent/1", "early/1"]


def test_an_hour_of_waiting_counts_as_one_level_of_priority() -> None:
    groups = [make_group("old", priority=4, order=2, age_s=2.5 * HOUR_S), make_group("new", priority=5, order=1)]
    assert started(slots(groups, 1)) == ["old/1"]
    assert started(slots(groups, 1), ageing_step="5h") == ["new/1"]
    assert started(slots(groups, 1), ageing_step="0") == ["new/1"]


@pytest.mark.parametrize(("walltime_s", "first"), [(None, "old"), (60.0, "old"), (HOUR_S, "old"), (3 * HOUR_S, "new")])
def test_a_task_that_asks_for_more_than_an_hour_rises_only_once_it_has_waited_as_long_as_it_asks_for(
    walltime_s: float | None, first: str
) -> None:
    asked = Resources(walltime_s=walltime_s)
    groups = [
        make_group("old", priority=4, order=2, age_s=2.5 * HOUR_S, resources=asked),
        make_group("new", priority=5, order=1),
    ]
    assert started(slots(groups, 1)) == [f"{first}/1"]


def test_a_task_that_asks_for_long_goes_before_a_higher_priority_once_it_has_waited_for_longer_still() -> None:
    groups = [
        make_group("long", priority=4, order=2, age_s=6.5 * HOUR_S, resources=Resources(walltime_s=3 * HOUR_S)),
        make_group("new", priority=5, order=1),
    ]
    assert started(slots(groups, 1)) == ["long/1"]


@pytest.mark.parametrize(("slack_s", "first"), [(10 * HOUR_S, "plain"), (1.5 * HOUR_S, "due"), (60.0, "due")])
def test_a_deadline_lifts_an_experiment_as_its_slack_runs_out(slack_s: float, first: str) -> None:
    groups = [
        make_group("plain", priority=5, order=1),
        make_group(
            "due", priority=4, order=2, deadline_s=NOW_S + HOUR_S + slack_s, resources=Resources(walltime_s=HOUR_S)
        ),
    ]
    assert started(slots(groups, 1, now_s=NOW_S)) == [f"{first}/1"]


def test_near_its_deadline_an_experiment_goes_before_every_priority() -> None:
    groups = [make_group("urgent", priority=9, order=1), make_group("due", priority=0, order=2, deadline_s=NOW_S + 60)]
    assert started(slots(groups, 1, now_s=NOW_S)) == ["due/1"]


# --- fairness


def test_within_a_band_the_user_who_has_least_goes_first_until_both_have_as_much() -> None:
    groups = [make_group("a", 9, user="ann", order=1), make_group("b", 9, user="bob", order=2)]
    usage = {"ann": Usage(running_cpus=4), "bob": Usage(running_cpus=0)}
    view = make_view(cpus=16, free_cpus=12)
    for snapshot in (
        make_snapshot(groups, [make_worker(free_slots=8)], [view], usage_by_user=usage),  # by slots
        make_snapshot(groups, [make_worker(free_slots=50)], [make_view(cpus=16, free_cpus=8)], usage_by_user=usage),
    ):
        by_user = Counter(task[0] for task in started(snapshot))
        assert by_user["b"] - by_user["a"] in (3, 4, 5), by_user
        assert by_user.total() == 8
        assert started(snapshot, fair=False)[:8] == [f"a/{number}" for number in range(1, 9)]


def test_of_users_with_as_much_the_one_who_has_used_less_goes_first() -> None:
    groups = [make_group("a", user="ann", order=1), make_group("b", user="bob", order=2)]
    usage = {"ann": Usage(decayed_cpu_s=900.0), "bob": Usage(decayed_cpu_s=10.0)}
    full = make_snapshot(groups, machines=[make_view(cpus=1)], usage_by_user=usage)
    assert started(full) == ["b/1"]


def test_what_a_project_has_counts_for_each_of_its_users() -> None:
    groups = [make_group("a", user="ann", project="big", order=1), make_group("b", user="bob", order=2)]
    snapshot = make_snapshot(
        groups, machines=[make_view(cpus=8, free_cpus=1)], usage_by_project={"big": Usage(running_cpus=5)}
    )
    assert started(snapshot) == ["b/1"]


# --- limits


def test_a_task_blocked_by_a_cap_is_not_put_before_one_that_could_run() -> None:
    groups = [
        make_group("capped", 5, priority=9, may_start=1),
        make_group("free", 5, order=1),
    ]
    assert started(slots(groups, 3)) == ["capped/1", "free/1", "free/2"]
    assert decide(slots(groups, 3)).reasons["capped"].code == "max_running"


def test_counters_are_shared_over_all_machines() -> None:
    groups = [make_group("a", 2, counters=(("matlab", 1),)), make_group("b", 2, order=1, counters=(("matlab", 2),))]
    decision = decide(slots(groups, 9, counters={"matlab": 3}))
    assert [item.task for item in decision.assignments] == ["a/1", "a/2"]
    assert decision.reasons["b"].code == "counter"
    assert "matlab, of which 1 are left" in decision.reasons["b"].text
    assert started(slots(groups, 9)) == [], "a counter that is not named has nothing left"


def test_what_a_counter_has_left_is_told_less_what_the_same_decision_takes() -> None:
    decision = decide(slots([make_group("a", 3, counters=(("matlab", 1),))], 9, counters={"matlab": 2}))
    assert len(decision.assignments) == 2
    assert decision.reasons["a"].text == "it takes 1 of the counter matlab, of which 0 are left"


# --- machines of their own


def anywhere(name: str, count: int = 1, labels: tuple[str, ...] = (), **settings: Any) -> Group:
    return make_group(name, count, machine=None, anywhere=Requirement(labels=labels), **settings)


def on_machines(groups: Sequence[Group], views: Sequence[Any], **settings: Any) -> Snapshot:
    names = frozenset(view.name for view in views)
    return make_snapshot(groups, [make_worker(free_slots=99, machines=names)], views, **settings)


def test_small_tasks_leave_large_machines_to_large_ones() -> None:
    views = [make_view("a-large", 80), make_view("small", 12)]
    groups = [anywhere("s", resources=Resources(4)), anywhere("l", order=1, resources=Resources(78))]
    assert placed(decide(on_machines(groups, views))) == {"s/1": "small", "l/1": "a-large"}


def test_a_machine_with_a_rare_label_is_left_to_those_who_ask_for_it() -> None:
    views = [make_view("a", labels=("odd",)), make_view("b"), make_view("c")]
    assert placed(decide(on_machines([anywhere("g")], views)))["g/1"] in ("b", "c")
    assert placed(decide(on_machines([anywhere("g", labels=("odd",))], views))) == {"g/1": "a"}


def test_equal_tasks_fill_one_machine_after_the_other() -> None:
    views = [make_view("a", 4), make_view("b", 4)]
    assert Counter(placed(decide(on_machines([anywhere("g", 6)], views))).values()) == {"a": 4, "b": 2}


def test_a_task_of_many_nodes_takes_as_many_machines_or_none() -> None:
    views = [make_view(name, 4) for name in "abc"]
    asked = Resources(4, nodes=2)
    decision = decide(on_machines([anywhere("g", 2, resources=asked)], views))
    assert list(decision.assignments) == [Assignment("g/1", "a", None, ("b",))]
    assert decision.reasons["g"].text == "none of the 3 machines that fit has room for 4 cpus, each of 2 machines"


# --- roles


def role(group: Group, name: str = "r", **settings: Any) -> UnboundRole:
    return UnboundRole(group.experiment, name, settings.pop("requires", Requirement()), (group.id,), **settings)


def test_a_machine_that_cannot_do_the_last_task_is_no_match_for_the_first() -> None:
    group = make_group("g", machine=None, unbound="r")
    views = [make_view("a-small", 2), make_view("large", 64)]
    needs = (RoleNeed("job", Resources(1)), RoleNeed("job", Resources(32)))
    decision = decide(on_machines([group], views, roles=(role(group, needs=needs),)))
    assert list(decision.bindings) == [Binding(group.experiment, "r", "large")]
    assert placed(decision) == {"g/1": "large"}, "and its first task starts at once"


def test_a_role_goes_where_every_kind_of_its_tasks_has_a_worker() -> None:
    group = make_group("g", machine=None, unbound="r")
    workers = [
        make_worker("w1", machines=frozenset("ab")),
        make_worker("w2", machines=frozenset("b"), labels=frozenset("x")),
    ]
    needs = (RoleNeed("stage", Resources(0), ("x",)),)
    snapshot = make_snapshot([group], workers, [make_view("a"), make_view("b")], roles=(role(group, needs=needs),))
    assert [each.machine for each in decide(snapshot).bindings] == ["b"]


def test_a_role_goes_where_its_data_are() -> None:
    group = make_group("g", machine=None, unbound="r")
    views = [make_view("a"), make_view("b"), make_view("c")]
    there = role(group, data_bytes={"b": 5, "c": 1 << 30})
    assert [each.machine for each in decide(on_machines([group], views, roles=(there,))).bindings] == ["c"]
    bound = Binding(group.experiment, "other", "b")
    near = on_machines([group], views, roles=(role(group),), bindings=(bound,))
    assert [each.machine for each in decide(near).bindings] == ["b"]


@pytest.mark.parametrize("bound", [0, 2, 5])
def test_roles_whose_jobs_come_behind_their_stages_go_to_all_machines_by_their_size(bound: int) -> None:
    names = [f"r[{number}]" for number in range(6)]
    stages = [
        make_group(f"g{number}", machine=None, unbound=name, type="stage", experiment="e", resources=Resources(0))
        for number, name in enumerate(names)
    ]
    needs = (RoleNeed("stage", Resources(0)), RoleNeed("job", Resources(1)))
    snapshot = make_snapshot(
        stages[bound:],
        [make_worker("w", 9, types=frozenset({"stage", "job"}), machines=frozenset({"small", "large", "other"}))],
        [make_view("small", 2), make_view("large", 4), make_view("other", 1, held=True)],
        roles=[role(group, str(group.unbound), needs=needs) for group in stages[bound:]],
        bindings=[Binding("e", name, "small" if at < 2 else "large") for at, name in enumerate(names[:bound])],
    )
    decision = decide(snapshot)
    assert Counter(each.machine for each in (*snapshot.bindings, *decision.bindings)) == {"small": 2, "large": 4}
    assert len(decision.assignments) == 6 - bound


def test_a_role_waits_for_room_rather_than_be_bound_to_a_full_machine() -> None:
    group = make_group("g", machine=None, unbound="r", resources=Resources(4))
    decision = decide(on_machines([group], [make_view("a", 8, free_cpus=3)], roles=(role(group),)))
    assert list(decision.bindings) == []
    assert decision.reasons["g"].text == "machine a has no room for 4 cpus"


def test_a_role_is_not_bound_where_it_may_not_be() -> None:
    group = make_group("g", machine=None, unbound="r")
    barred = role(group, barred=frozenset({"local@a"}))
    views = [make_view("local@a"), make_view("local@b")]
    decision = decide(on_machines([group], views, roles=(barred,)))
    assert [each.machine for each in decision.bindings] == ["local@b"]


def test_a_machine_where_a_task_can_start_goes_before_one_where_it_has_to_queue() -> None:
    group = make_group("g", machine=None, unbound="r", resources=Resources(4))
    views = [make_view("a", 8, free_cpus=0, queueing=True), make_view("b", 8), make_view("c", 8, free_cpus=0)]
    assert placed(decide(on_machines([group], views, roles=(role(group),)))) == {"g/1": "b"}
    full = [views[0], views[2]]
    assert placed(decide(on_machines([group], full, roles=(role(group),)))) == {"g/1": "a"}, "it can queue there"


def test_many_equal_roles_are_spread_over_what_has_room() -> None:
    groups = [make_group(f"g{number}", machine=None, unbound="r", resources=Resources(4)) for number in range(5)]
    views = [make_view("a", 8), make_view("b", 8)]
    decision = decide(on_machines(groups, views, roles=tuple(role(group) for group in groups)))
    assert Counter(placed(decision).values()) == {"a": 2, "b": 2}
    assert len(decision.bindings) == 4


# --- reservations


def running(name: str, machine: str, cpus: int, ends_s: float | None) -> RunningTask:
    return RunningTask(name, machine, "w", Resources(cpus), ends_s)


def test_room_is_kept_for_the_oldest_blocked_task_and_what_ends_in_time_starts_meanwhile() -> None:
    big = make_group("big", resources=Resources(8), age_s=2 * HOUR_S, priority=0)
    short = make_group("short", 9, resources=Resources(1, walltime_s=HOUR_S), order=1, priority=9)
    long = make_group("long", 9, resources=Resources(1, walltime_s=9 * HOUR_S), order=2, priority=9)
    view = make_view(cpus=8, free_cpus=4)
    snapshot = make_snapshot(
        [big, short, long], [make_worker(free_slots=20)], [view], now_s=NOW_S,
        running=(running("r", "m", 4, NOW_S + 2 * HOUR_S),),
    )  # fmt: skip
    decision = decide(snapshot)
    assert list(decision.reservations) == [Reservation("big/1", "m", NOW_S + 2 * HOUR_S)]
    assert decision.look_again_s == 2 * HOUR_S
    assert {item.task.split("/")[0] for item in decision.assignments} == {"short"}
    assert decision.reasons["long"].code == "reserved"
    assert "kept for big/1" in decision.reasons["long"].text
    without = decide(snapshot, reserve_after="0")
    assert not without.reservations


def test_what_fits_beside_the_kept_room_starts_however_long_it_takes() -> None:
    big = make_group("big", resources=Resources(6), age_s=2 * HOUR_S)
    long = make_group("long", 9, resources=Resources(1), order=1, priority=9)
    snapshot = make_snapshot(
        [big, long], [make_worker(free_slots=20)], [make_view(cpus=8, free_cpus=4)], now_s=NOW_S,
        running=(running("r", "m", 4, NOW_S + 60),),
    )  # fmt: skip
    assert started(snapshot) == ["long/1", "long/2"]


def test_where_ends_are_unknown_one_machine_is_drained_and_the_others_go_on() -> None:
    big = anywhere("big", resources=Resources(8), age_s=2 * HOUR_S)
    small = anywhere("small", 9, resources=Resources(1), order=1, priority=9)
    views = [make_view("a", 8, free_cpus=2), make_view("b", 8, free_cpus=6)]
    held = (running("r", "a", 6, None), running("s", "b", 2, None))
    decision = decide(on_machines([big, small], views, running=held))
    assert list(decision.reservations) == [Reservation("big/1", "b", None)]
    assert set(placed(decision).values()) == {"a"}
    kept = on_machines([big, small], views, running=held, reservations=(Reservation("big/1", "a", None),))
    assert [each.machine for each in decide(kept).reservations] == ["a"], (
        "it stays with the machine that it has begun to drain"
    )


def test_a_machine_that_is_drained_takes_no_short_task_either() -> None:
    big = make_group("big", resources=Resources(8), age_s=2 * HOUR_S)
    short = make_group("short", 9, resources=Resources(1, walltime_s=60), order=1, priority=9)
    snapshot = make_snapshot(
        [big, short], [make_worker(free_slots=20)], [make_view(cpus=8, free_cpus=4)], now_s=NOW_S,
        running=(running("r", "m", 4, None),),
    )  # fmt: skip
    decision = decide(snapshot)
    assert list(decision.reservations) == [Reservation("big/1", "m", None)]
    assert not decision.assignments
    assert decision.reasons["short"].code == "reserved"


@pytest.mark.parametrize(
    ("asked", "patience_s"),
    [
        (Resources(8), HOUR_S / 2),
        (Resources(8, walltime_s=60), HOUR_S / 2),
        (Resources(8, walltime_s=0.75 * HOUR_S), 0.75 * HOUR_S),
        (Resources(8, walltime_s=9 * HOUR_S), HOUR_S),
    ],
)
def test_the_shorter_a_task_is_the_sooner_a_machine_is_kept_for_it(asked: Resources, patience_s: float) -> None:
    views = [make_view("a", 8, free_cpus=2), make_view("b", 8, free_cpus=6)]
    held = (running("r", "a", 6, None), running("s", "b", 2, None))
    for age_s, is_kept in ((patience_s - 1, False), (patience_s, True)):
        big = anywhere("big", resources=asked, age_s=age_s)
        kept = decide(on_machines([big], views, running=held), reserve_after="1h").reservations
        assert len(kept) == is_kept, f"after {age_s} s"


def test_a_task_that_has_waited_too_long_starts_first_once_it_fits() -> None:
    big = make_group("big", resources=Resources(8), age_s=2 * HOUR_S, priority=0)
    small = make_group("small", 9, order=1, priority=9)
    snapshot = make_snapshot([big, small], [make_worker(free_slots=20)], [make_view(cpus=8)])
    assert started(snapshot) == ["big/1"]


# --- reasons


def test_a_group_short_of_slots_is_told_which_are_full_and_what_one_more_would_change() -> None:
    workers = [
        make_worker("j1", 1, types=frozenset({"job"})),
        make_worker("s1", 1, types=frozenset({"stage"})),
        make_worker("both", 1, types=frozenset({"job", "stage"})),
    ]
    groups = [make_group("s", 2, type="stage", priority=9), make_group("j", 2)]
    reason = decide(make_snapshot(groups, workers)).reasons["j"]
    assert reason.code == "slots"
    assert reason.text == (
        "every worker that can do it is busy (both, j1): the 3 slots that were free went to tasks of its own or a"
        " higher band, or to earlier ones; one more slot there or on 1 others, to which tasks in its way could move,"
        " would start one more"
    )


def test_where_no_slot_was_free_at_all_it_says_so() -> None:
    reason = decide(make_snapshot([make_group("g")], [make_worker("w1", 0)])).reasons["g"]
    assert (
        reason.text
        == "every worker that can do it is busy (w1): no slot is free; one more slot there would start one more"
    )


@pytest.mark.parametrize(
    ("group", "code", "said"),
    [
        (make_group("g", machine="h"), "held", "machine h is held"),
        (make_group("g", worker_labels=("no",)), "worker", "no live worker can do it"),
        (make_group("g", resources=Resources(99)), "capacity", "machine m is too small for 99 cpus"),
        (make_group("g", resources=Resources(9)), "capacity", "machine m has no room for 9 cpus"),
        (make_group("g", machine="q"), "capacity", "machine q takes no more jobs now"),
        (
            anywhere("g", labels=("none",)),
            "role",
            "no machine fits it: h is held; m has no label none; q has no label none",
        ),
    ],
)
def test_every_cause_is_named(group: Group, code: str, said: str) -> None:
    views = [make_view("h", held=True), make_view("m", 16, free_cpus=8), make_view("q", jobs_left=0)]
    decision = decide(on_machines([group], views))
    assert (decision.reasons["g"].code, decision.reasons["g"].text) == (code, said)


# --- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agening": "1h"}, "scheduler_options.agening: unknown option of matchmaking, expected one of ageing_step"),
        ({"ageing_step": "soon"}, "scheduler_options.ageing_step: found 'soon', expected a duration such as"),
        ({"reserve_after": -1}, "scheduler_options.reserve_after: found -1, expected a duration such as"),
        ({"fair": "yes"}, "scheduler_options.fair: found 'yes', expected true or false"),
        ({"fair": 1}, "scheduler_options.fair: found 1, expected true or false"),
        ({"placement": "tight"}, "scheduler_options.placement: found 'tight', expected pack or spread"),
        ({"steps": True}, "scheduler_options.steps: found True, expected a whole number, 0 or more"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scheduler_factory("matchmaking")(options)
    assert str(caught.value).startswith(said)


def test_assignments_can_be_counted_indexed_and_sliced_without_making_all_of_them() -> None:
    decision = decide(slots([make_group("a", 3), make_group("b", 2, order=1)], 9))
    tasks = ["a/1", "a/2", "a/3", "b/1", "b/2"]
    assert len(decision.assignments) == 5
    assert [item.task for item in decision.assignments] == tasks
    assert decision.assignments[3].task == "b/1"
    assert decision.assignments[-1].task == "b/2"
    assert [item.task for item in decision.assignments[1:4]] == tasks[1:4]
    with pytest.raises(IndexError):
        decision.assignments[5]
