"""What is known of very many open roles: their needs, their data, whose tasks wait for them."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.play import task_type
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment, Instance, Role, Template
from wlmctl.machine import Requirement
from wlmctl.orchestrator.locality import Locality
from wlmctl.orchestrator.owners import Owners
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.role_needs import RoleNeeds
from wlmctl.orchestrator.standing import Standing
from wlmctl.orchestrator.work import Work
from wlmctl.spec import PLACEHOLDER_BEGIN, PLACEHOLDER_END
from wlmctl.task import Resources

CLASS = Standing(("r[]0",), "r")
ASKED = Instance({}, ("r",), Resources(), None, None, ())


def each(name: str) -> Role:
    return Role(name, requires=Requirement(("x",)), each="n")


def of_value(name: str, key: str, *values: str, **common: Any) -> Template:
    """A task that uses the role ``r``, one for each value."""
    return Template(name, "play", {"machine": "r"}, common, (key,), [(value,) for value in values])


def needs_of(*templates: Template, role: Role | None = None) -> RoleNeeds:
    experiment = Experiment("e", templates, {"r": role or each("r")})
    return RoleNeeds(experiment, [Instances(template, task_type) for template in templates], [True] * len(templates))


def cpus_of(needs: RoleNeeds, key: str) -> list[int]:
    return [need.resources.cpus for need in needs.of("r", key)]


def asking(cpus: str) -> dict[str, Any]:
    return {"resources": {"cpus": cpus}}


def value(name: str) -> str:
    return f"{PLACEHOLDER_BEGIN}{name}{PLACEHOLDER_END}"


def test_roles_whose_tasks_ask_for_the_same_share_the_number_of_their_needs() -> None:
    needs = needs_of(
        of_value("a", "n", "1", "2", "3"),
        of_value("b", "n", "3", "2", **asking("4")),
        of_value("c", "n", "2", "3", "3", **asking(value("n"))),
    )
    assert [cpus_of(needs, f"r[{n}]") for n in (1, 2, 3)] == [[1], [1, 4, 2], [1, 4, 3]]
    assert len({needs.number("r", f"r[{n}]") for n in (1, 2, 3)}) == 3
    same = needs_of(of_value("a", "n", "1", "2"), of_value("b", "n", "2", "1", **asking("4")))
    assert same.number("r", "r[1]") == same.number("r", "r[2]")
    assert same.at(same.number("r", "r[1]")) == same.of("r", "r[2]")


def test_a_role_without_each_has_the_needs_of_all_its_tasks_and_one_that_nobody_uses_has_none() -> None:
    plain = needs_of(of_value("a", "n", "1", "2", **asking(value("n"))), role=Role("r", requires=Requirement()))
    assert cpus_of(plain, "r") == [1, 2]
    assert needs_of(of_value("a", "n", "1")).of("r", "r[7]") == ()


PUT = st.lists(st.tuples(st.sampled_from(["p", "q", "fixed"]), st.integers(0, 4), st.integers(0, 900)), max_size=12)


@given(PUT, st.lists(st.integers(0, 4), unique=True), st.sets(st.tuples(st.sampled_from("pq"), st.integers(0, 4))))
def test_the_columns_of_many_roles_say_the_same_as_what_is_said_of_each(
    put: list[tuple[str, int, int]], shown: list[int], bound: set[tuple[str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wlmctl.plugins.task_type", task_type)
        rows = [(str(n),) for n in range(5)]
        templates = tuple(
            Template(f"t{number}", "carry", {"machine": role, "also": source}, keys=("n",), rows=rows)
            for number, (role, source) in enumerate(
                [("p", "nas"), ("q", "nas"), ("fixed", "nas"), ("r", "p"), ("r", "q"), ("r", "fixed"), ("r", "away")]
            )
        )
        roles = {"p": each("p"), "q": each("q"), "r": each("r"), "fixed": Role("fixed", machine="m1")}
        locality = Locality(Experiment("e", templates, roles), [Instances(each, task_type) for each in templates])
    bindings = {f"{role}[{n}]": f"m{n % 3}" for role, n in bound}
    for filled, n, size in put:
        locality.succeeded(["p", "q", "fixed"].index(filled), n, {"bytes": str(size)})
    keys = [f"r[{n}]" for n in shown]
    data = locality.columns("r", keys, bindings, lambda machine: None if machine == "m2" else machine)
    assert [*data.roles] == sorted(data.roles)
    found = defaultdict[str, dict[str, int]](dict)
    for position, at, size_bytes in zip(data.roles, data.at, data.sizes, strict=True):
        assert data.machines[at] not in found[keys[position]], "no machine twice"
        found[keys[position]][data.machines[at]] = size_bytes
    for key in keys:
        known = locality.data_bytes("r", key, bindings)
        assert found[key] == {machine: size_bytes for machine, size_bytes in known.items() if machine != "m2"}


def group(*tasks: int, how: Standing = CLASS) -> ReadyGroup:
    made = ReadyGroup("1.0", 0, "play", ASKED, True, how)
    for idx in tasks:
        made.put(idx, 5.0, f"r[{idx % 10}]")
    return made


def test_tasks_and_their_roles_stay_side_by_side_whatever_comes_and_goes() -> None:
    ready = group(7, 3, 13, 1)
    assert ready.shown(None) == ((1, 3, 7, 13), ("r[1]", "r[3]", "r[7]", "r[3]"))
    assert not ready.is_one_each
    ready.remove(3)
    assert (ready.is_one_each, ready.has("r[3]")) == (True, True)
    ready.put(4, 2.0, "r[4]")
    assert ready.since_s == 2.0
    assert ready.take({"r[7]", "r[1]", "r[9]"}) == [1, 7]
    assert (ready.tasks, ready.own_roles, ready.has("r[7]")) == ([4, 13], ["r[4]", "r[3]"], False)
    assert ready.shown(1) == ((4,), ("r[4]",))
    assert ready.clear() == [4, 13]
    assert (ready.shown(None), ready.has("r[4]")) == (((), ()), False)


def test_what_is_shown_of_a_class_is_the_same_until_it_changes_and_is_never_changed() -> None:
    ready = group(1, 2, 3)
    first = ready.shown(None)
    assert ready.shown(None)[1] is ready.shown(3)[1] is first[1]
    ready.remove(1)
    assert first == ((1, 2, 3), ("r[1]", "r[2]", "r[3]"))
    assert ready.shown(None) == ((2, 3), ("r[2]", "r[3]"))


@pytest.mark.parametrize("parts", [1, 40])
def test_a_task_is_found_by_its_exact_name_wherever_it_is_in_its_group(parts: int) -> None:
    work = cast("Work", SimpleNamespace(seq=3, states=[None] * 200, place=lambda idx: (0, idx)))
    groups = [(work, group(*range(part, 160, parts))) for part in range(parts)]
    owners = Owners(groups, 1)
    for idx in (0, 159, 77):
        found = owners.of(f"3.{idx}")
        assert found == (work, groups[idx % parts][1], idx)
    for strange in ("3.160", "3.0159", "3.200", "4.1", "3.", "3", "", "3.-1", "3.٣", "3.1.1", " 3.5", None, 7):
        assert owners.of(cast("str", strange)) is None
