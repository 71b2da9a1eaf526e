"""The scheduler ``fifo``: who goes first, who does not hold up whom, and what it says of those that wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from wlmctl.errors import ConfigError
from wlmctl.machine import Requirement
from wlmctl.plugins import scheduler_factory
from wlmctl.role_classes import apart
from wlmctl.scheduler import Binding, Decision, Group, RoleNeed, Snapshot, UnboundRole
from wlmctl.task import Resources
from wlmctl.testing.builders import make_group, make_role_class, make_snapshot, make_view, make_worker

HOUR_S = 3600.0


def decide(snapshot: Snapshot, **options: object) -> Decision:
    return scheduler_factory("fifo")(options).assign(snapshot)


def started(snapshot: Snapshot, **options: object) -> list[str]:
    return [assignment.task for assignment in decide(snapshot, **options).assignments]


def one_slot(groups: Sequence[Group]) -> Snapshot:
    return make_snapshot(groups, workers=[make_worker(free_slots=1)])


def test_a_higher_priority_goes_first_then_who_was_submitted_first() -> None:
    groups = [
        make_group("late", priority=4, order=2),
        make_group("early", priority=4, order=1),
        make_group("urgent", priority=8, order=3),
    ]
    assert started(make_snapshot(groups)) == ["urgent/1", "early/1", "late/1"]


def test_tasks_of_a_group_start_eldest_first() -> None:
    assert started(make_snapshot([make_group("g", 3)])) == ["g/1", "g/2", "g/3"]


def test_an_hour_of_waiting_counts_as_one_level_of_priority() -> None:
    def first(age_s: float, **options: object) -> list[str]:
        old = make_group("old", priority=4, order=1, age_s=age_s)
        return started(one_slot([make_group("new", priority=6, order=2), old]), **options)

    assert first(0) == ["new/1"]
    assert first(2 * HOUR_S - 1) == ["new/1"]
    assert first(2 * HOUR_S) == ["old/1"], "as high as the newer one, and submitted before it"
    assert first(200.0, ageing_step="100s") == ["old/1"]
    assert first(9 * HOUR_S, ageing_step=0) == ["new/1"]


def test_what_has_waited_long_does_not_overtake_the_highest_priority_that_came_before_it() -> None:
    groups = [make_group("top", priority=9, order=1), make_group("old", priority=0, order=2, age_s=1000 * HOUR_S)]
    assert started(one_slot(groups)) == ["top/1"]


def test_nothing_starves_behind_an_endless_stream_of_higher_priority() -> None:
    old = make_group("old", priority=0, order=1, age_s=9 * HOUR_S)
    assert started(one_slot([make_group("new", priority=9, order=2), old])) == ["old/1"]


def test_a_job_that_does_not_fit_now_holds_up_no_other() -> None:
    groups = [
        make_group("big", order=1, resources=Resources(cpus=8)),
        make_group("small", 2, order=2, resources=Resources(cpus=2)),
    ]
    decision = decide(make_snapshot(groups, machines=[make_view(cpus=8, free_cpus=4)]))
    assert [each.task for each in decision.assignments] == ["small/1", "small/2"]
    assert decision.reasons["big"].code == "capacity"


def test_steps_go_on_while_a_machine_is_full_of_jobs() -> None:
    groups = [
        make_group("job", order=1),
        make_group("step", order=2, type="stage", resources=Resources(cpus=0)),
    ]
    assert started(make_snapshot(groups, machines=[make_view(cpus=4, free_cpus=0)])) == ["step/1"]


def test_a_limit_of_an_experiment_is_shared_by_its_groups_and_holds_up_no_other_experiment() -> None:
    groups = [
        make_group("a", 2, order=1, experiment="x", may_start=3),
        make_group("b", 2, order=1, experiment="x", may_start=3),
        make_group("c", 1, order=2),
    ]
    decision = decide(make_snapshot(groups))
    assert [each.task for each in decision.assignments] == ["a/1", "a/2", "b/1", "c/1"]
    assert decision.reasons["b"].code == "max_running"


def test_a_held_machine_gets_nothing_even_where_it_is_only_touched() -> None:
    groups = [make_group("a", machine="n"), make_group("b", machine="m", touches=("m", "n")), make_group("c")]
    workers = [make_worker(machines=frozenset({"m", "n"}))]
    decision = decide(make_snapshot(groups, workers, [make_view(), make_view("n", held=True)]))
    assert [each.task for each in decision.assignments] == ["c/1"]
    assert {decision.reasons[name].code for name in "ab"} == {"held"}


def test_a_role_is_bound_to_the_first_machine_that_fits_and_answers() -> None:
    role = UnboundRole("x", "r", Requirement(labels=("gpu",), cpus=4), ("g",))
    views = [
        make_view("a"),
        make_view("b", cpus=2, labels=("gpu",)),
        make_view("c", cpus=8, labels=("gpu",), held=True),
        make_view("d", cpus=8, labels=("gpu",)),
        make_view("e", cpus=8, labels=("gpu",)),
    ]
    group = make_group("g", machine=None, experiment="x", unbound="r")
    decision = decide(make_snapshot([group], machines=views, roles=(role,)))
    assert [(binding.role, binding.machine) for binding in decision.bindings] == [("r", "d")]
    assert decision.assignments == []


@pytest.mark.parametrize("is_class", [True, False])
def test_roles_of_an_each_go_to_all_machines_that_fit_as_many_as_are_due_to_their_cpus(is_class: bool) -> None:
    group, alike = make_role_class("g", 7, requires=Requirement(labels=("x",)))
    worker = make_worker(machines=frozenset("lmn"))
    views = [make_view("l", 99), make_view("m", 2, labels=("x",)), make_view("n", 4, labels=("x",))]
    earlier = (Binding("other", "r[1]", "m"), Binding("other", "r[2]", "n"))
    snapshot = make_snapshot([group], [worker], views, role_classes=(alike,), bindings=earlier)
    decision = decide(snapshot if is_class else apart(snapshot).snapshot)
    assert [each.role for each in decision.bindings] == [f"compute[{number}]" for number in range(1, 8)]
    assert Counter(each.machine for each in decision.bindings) == {"n": 5, "m": 2}


def test_a_role_is_bound_to_a_machine_that_a_worker_reaches_where_there_is_one() -> None:
    group = make_group("g", machine=None, unbound="r")
    role = UnboundRole(group.experiment, "r", Requirement(), ("g",))
    views = [make_view("far"), make_view("near")]
    for machines, expected in (("near", "near"), ("elsewhere", "far")):
        workers = [make_worker(machines=frozenset({machines}))]
        [binding] = decide(make_snapshot([group], workers, views, roles=(role,))).bindings
        assert binding.machine == expected


def test_a_role_that_nothing_fits_says_why_machine_by_machine() -> None:
    role = UnboundRole("x", "r", Requirement(gpus=2), ("g",))
    views = [make_view("a"), make_view("b", gpus=1), make_view("c", held=True), make_view("d")]
    group = make_group("g", machine=None, experiment="x", unbound="r")
    reason = decide(make_snapshot([group], machines=views, roles=(role,))).reasons["g"]
    assert reason.code == "role"
    assert reason.text == (
        "no machine fits the role r: a has 0 gpus, 2 are required; b has 1 gpus, 2 are required; c is held; and 1 more"
    )


def test_a_label_that_no_worker_has_is_named_as_the_reason() -> None:
    decision = decide(make_snapshot([make_group("g", worker_labels=("site=b",))]))
    assert (decision.assignments, decision.reasons["g"].code) == ([], "worker")


@pytest.mark.parametrize("options", [{"ageing_step": "soon"}, {"ageing": "1h"}])
def test_wrong_options_are_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"scheduler_options\.ageing"):
        scheduler_factory("fifo")(options)


def test_what_a_counter_or_the_machine_holds_up_holds_up_nothing_else() -> None:
    groups = [
        make_group("licence", 2, order=1, counters=(("matlab", 2),)),
        make_group("full", 2, order=2, machine="n"),
        make_group("free", 2, order=3),
    ]
    workers = [make_worker(machines=frozenset({"m", "n"}))]
    views = [make_view(), make_view("n", jobs_left=1)]
    decision = decide(make_snapshot(groups, workers, views, counters={"matlab": 3}))
    assert [each.task for each in decision.assignments] == ["licence/1", "full/1", "free/1", "free/2"]
    assert {name: reason.code for name, reason in decision.reasons.items()} == {
        "licence": "counter", "full": "capacity",
    }  # fmt: skip
    assert decision.reasons["licence"].text == "counter matlab has 1 left, it takes 2"


def test_slots_that_one_group_has_taken_are_taken_for_all() -> None:
    workers = [make_worker("v", 1), make_worker("w", 1, types=frozenset({"job"}))]
    groups = [make_group("a", order=1), make_group("b", 2, order=2), make_group("c", order=3, type="stage")]
    decision = decide(make_snapshot(groups, workers))
    assert [each.task for each in decision.assignments] == ["a/1", "b/1"]
    assert {name: reason.code for name, reason in decision.reasons.items()} == {"b": "slots", "c": "slots"}


def test_a_machine_that_cannot_do_the_last_task_of_a_role_is_no_match_for_its_first() -> None:
    needs = (RoleNeed("job", Resources(cpus=1)), RoleNeed("job", Resources(cpus=16, gpus=1)))
    role = UnboundRole("x", "r", Requirement(), ("g",), needs, frozenset({"local@elsewhere"}))
    views = [make_view("local@elsewhere", cpus=64, gpus=1), make_view("a"), make_view("b", cpus=16, gpus=1)]
    group = make_group("g", machine=None, experiment="x", unbound="r")
    decision = decide(make_snapshot([group], machines=views, roles=(role,)))
    assert [binding.machine for binding in decision.bindings] == ["b"]
    reason = decide(make_snapshot([group], machines=views[:2], roles=(role,))).reasons["g"]
    assert reason.text == "no machine fits the role r: a has 8 cpus, a job of it asks for 16"
