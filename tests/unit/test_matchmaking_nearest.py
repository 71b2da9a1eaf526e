"""Many open roles to machines at once: in two stages as many as by one flow, with nearly as much data in place."""

from __future__ import annotations

import random
from dataclasses import replace
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wlmctl_scheduler_matchmaking import nearest as choosing
from wlmctl_scheduler_matchmaking.nearest import by_one_flow, nearest
from wlmctl_scheduler_matchmaking.nearly import nearly_nearest
from wlmctl_scheduler_matchmaking.wishes import Wishes, wishes

from benchmarks.bounds import nearest_possible
from benchmarks.instances import Size, hosts_instance, near_instance
from tests.unit.test_matchmaking_properties import decide
from wlmctl.role_classes import apart
from wlmctl.scheduler import Decision, Snapshot
from wlmctl.testing.decisions import problems

np = pytest.importorskip("numpy")

pytestmark = pytest.mark.skipif(not find_spec("ortools"), reason="wlmctl[solver] is not installed")

#: What ``nearest`` is asked: kinds, ranks, data, machines of each kind, room.
Question = tuple[list[int], list[int], list[dict[str, int]], list[list[str]], dict[str, int]]


def question(draw: random.Random, roles: int, places: int, kinds: int, ranks: int) -> Question:
    names = [f"m{number}" for number in range(places)]
    machines = [draw.sample(names, draw.randint(0, places)) for _ in range(kinds)]
    hosts = [draw.sample(names, draw.randint(0, min(3, places))) for _ in range(roles)]
    data = [{name: draw.choice((0, 1, 5, draw.randint(1, 1000))) for name in each} for each in hosts]
    return (
        [draw.randrange(kinds) for _ in range(roles)],
        sorted(draw.randrange(ranks) for _ in range(roles)),
        data,
        machines,
        {name: draw.randint(0, 4) for name in names},
    )


@st.composite
def questions(draw: st.DrawFn) -> Question:
    return question(
        random.Random(draw(st.integers(0, 1 << 30))),
        draw(st.integers(1, 40)),
        draw(st.integers(0, 10)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 4)),
    )


def wishes_of(asked: Question) -> Wishes:
    """The question in columns; its machines are places in the order of their room."""
    kinds, ranks, data, machines, room = asked
    place = {name: number for number, name in enumerate(room)}
    suits = np.zeros((len(machines), len(room)), bool)
    for kind, names in enumerate(machines):
        suits[kind, [place[name] for name in names]] = True
    wished = [(role, place[name], size) for role, sizes in enumerate(data) for name, size in sizes.items()]
    whose, at, size = np.array(wished, np.int64).reshape(-1, 3).T
    return wishes(np.array(kinds), np.array(ranks), suits, np.array([*room.values()], np.int64), (whose, at, size))


def worth(asked: Wishes, found: list[int]) -> int:
    return sum(
        worth
        for role, place, worth in zip(asked.whose.tolist(), asked.at.tolist(), asked.worth.tolist(), strict=True)
        if found[role] == place
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(questions())
def test_in_two_stages_as_many_of_each_prefix_of_ranks_go_as_by_one_flow_and_only_where_there_is_room(
    asked: Question,
) -> None:
    columns = wishes_of(asked)
    exact, nearly = by_one_flow(columns), nearly_nearest(columns)
    assert exact is not None
    assert nearly is not None
    for rank in range(4):
        assert sum(nearly[columns.ranks <= rank] >= 0) == sum(exact[columns.ranks <= rank] >= 0)
    for place, takes in enumerate(columns.takes.tolist()):
        assert sum(nearly == place) <= takes
    assert all(
        columns.suits[kind, place] for kind, place in zip(columns.kinds, nearly.tolist(), strict=True) if place >= 0
    )
    assert worth(columns, nearly.tolist()) <= worth(columns, exact.tolist())


@pytest.mark.parametrize(("roles", "places"), [(30, 10), (300, 60)])
def test_in_two_stages_nearly_as_much_data_are_in_place_as_is_possible(roles: int, places: int) -> None:
    draw, found, most = random.Random(1), 0, 0
    for _ in range(40):
        columns = wishes_of(question(draw, roles, places, 5, 3))
        exact, nearly = by_one_flow(columns), nearly_nearest(columns)
        assert exact is not None
        assert nearly is not None
        found, most = found + worth(columns, nearly.tolist()), most + worth(columns, exact.tolist())
    assert found > 0.95 * most


@settings(max_examples=40, deadline=None, derandomize=True)
@given(questions(), st.randoms(use_true_random=False))
def test_the_answer_in_two_stages_does_not_depend_on_the_order_of_the_data(
    asked: Question, draw: random.Random
) -> None:
    kinds, ranks, data, machines, room = asked
    shuffled = [dict(draw.sample(list(each.items()), len(each))) for each in data]
    names = [draw.sample(each, len(each)) for each in machines]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "_EXACTLY", 0)
        first, again = (nearest(wishes_of(each)) for each in (asked, (kinds, ranks, shuffled, names, room)))
    assert first is not None
    assert again is not None
    assert again.tolist() == first.tolist()


def local_mib(snapshot: Snapshot, decision: Decision) -> int:
    data = {(role.experiment, role.role): role.data_bytes for role in snapshot.roles}
    return sum(data[each.experiment, each.role].get(each.machine, 0) >> 20 for each in decision.bindings)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("is_hosts", [False, True])
def test_thousands_of_roles_are_as_many_as_possible_and_nearly_all_where_their_data_are(
    seed: int, is_hosts: bool
) -> None:
    size = Size("", 6_000, 600, 50, 40, 0)
    snapshot = apart(hosts_instance(size, 1.0, seed)).snapshot if is_hosts else near_instance(6_000, 600, seed)
    decision = decide(snapshot)
    assert problems(snapshot, decision) == []
    placed, most_mib = nearest_possible(snapshot)
    assert len(decision.bindings) == len(decision.assignments) == placed
    assert local_mib(snapshot, decision) >= 0.9 * most_mib


def test_of_thousands_of_roles_in_several_bands_as_many_of_each_prefix_are_bound_as_is_possible() -> None:
    snapshot = near_instance(6_000, 600, 3)
    groups = [replace(group, priority=number % 3) for number, group in enumerate(snapshot.groups)]
    banded = replace(snapshot, groups=groups)
    bound = {(each.experiment, each.role) for each in decide(banded).bindings}
    for most in range(3):
        names = {group.id for group in groups if group.priority >= most}
        upper = tuple(role for role in snapshot.roles if names.issuperset(role.groups))
        placed, _ = nearest_possible(replace(snapshot, roles=upper))
        assert sum((role.experiment, role.role) in bound for role in upper) == placed
