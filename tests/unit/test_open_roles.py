"""What is known of very many open roles: their needs, their data, whose tasks wait for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.play import task_type
from wlmctl.experiment import Instances
from wlmctl.experiment.model import Experiment, Instance, Role, Template
from wlmctl.machine import Requirement
from wlmctl.orchestrator.kept_columns import KeptColumns
from wlmctl.orchestrator.locality import Locality
from wlmctl.orchestrator.owners import Owners
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.role_needs import RoleNeeds
from wlmctl.orchestrator.standing import Standing
from wlmctl.orchestrator.work import Work
from wlmctl.scheduler import DataColumns, RoleNeed
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


def test_values_that_differ_in_their_walltime_alone_ask_for_the_same() -> None:
    needs = needs_of(of_value("a", "n", "60", "90", resources={"cpus": "2", "walltime": value("n")}))
    assert needs.number("r", "r[60]") == needs.number("r", "r[90]")
    assert needs.of("r", "r[60]") == (RoleNeed("play", Resources(cpus=2)),)


def test_a_role_without_each_has_the_needs_of_all_its_tasks_and_one_that_nobody_uses_has_none() -> None:
    plain = needs_of(of_value("a", "n", "1", "2", **asking(value("n"))), role=Role("r", requires=Requirement()))
    assert cpus_of(plain, "r") == [1, 2]
    assert needs_of(of_value("a", "n", "1")).of("r", "r[7]") == ()


SOURCES = ["p", "q", "fixed"]


def filled_from(*sources: str) -> Locality:
    """What is put where, of roles that are filled from elsewhere and of ``r``, which is filled from these."""
    rows = [(str(n),) for n in range(9)]
    pairs = [*((role, "nas") for role in SOURCES), *(("r", source) for source in sources)]
    templates = tuple(
        Template(f"t{number}", "carry", {"machine": role, "also": source}, keys=("n",), rows=rows)
        for number, (role, source) in enumerate(pairs)
    )
    roles = {"p": each("p"), "q": each("q"), "r": each("r"), "fixed": Role("fixed", machine="m1")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wlmctl.plugins.task_type", task_type)
        return Locality(Experiment("e", templates, roles), [Instances(each, task_type) for each in templates])


def by_role(data: DataColumns, keys: list[str]) -> dict[str, dict[str, int]]:
    """The data of each role, by machine."""
    assert [*data.roles] == sorted(data.roles)
    found = {key: dict[str, int]() for key in keys}
    for position, at, size_bytes in zip(data.roles, data.at, data.sizes, strict=True):
        assert data.machines[at] not in found[keys[position]], "no machine twice"
        found[keys[position]][data.machines[at]] = size_bytes
    return found


PUT = st.lists(st.tuples(st.sampled_from(["p", "q", "fixed"]), st.integers(0, 4), st.integers(0, 900)), max_size=12)


@given(PUT, st.lists(st.integers(0, 4), unique=True), st.sets(st.tuples(st.sampled_from("pq"), st.integers(0, 4))))
def test_the_columns_of_many_roles_say_the_same_as_what_is_said_of_each(
    put: list[tuple[str, int, int]], shown: list[int], bound: set[tuple[str, int]]
) -> None:
    locality = filled_from("p", "q", "fixed", "away")
    bindings = {f"{role}[{n}]": f"m{n % 3}" for role, n in bound}
    for filled, n, size_bytes in put:
        locality.succeeded(SOURCES.index(filled), n, {"bytes": str(size_bytes)})
    keys = [f"r[{n}]" for n in shown]
    data = locality.columns("r", keys, bindings, lambda machine: None if machine == "m2" else machine)
    for key, found in by_role(data, keys).items():
        known = locality.data_bytes("r", key, bindings)
        assert found == {machine: size_bytes for machine, size_bytes in known.items() if machine != "m2"}


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 8)),
    st.tuples(st.just("remove"), st.integers(0, 8)),
    st.tuples(st.just("take"), st.sets(st.integers(0, 8), min_size=1, max_size=3)),
    st.tuples(st.just("fill"), st.sampled_from(["p", "p", "p", "p", "p", "q"]), st.integers(0, 8), st.integers(1, 9)),
    st.tuples(st.just("look")),
    st.tuples(st.just("look")),
)


@settings(max_examples=300)
@given(st.lists(STEP, max_size=30), st.sampled_from([1, 1000]))
def test_columns_that_are_kept_say_the_same_as_those_that_are_made_anew(
    steps: list[tuple[Any, ...]], most: int
) -> None:
    locality, ready = filled_from("p", "q", "fixed"), group(0, 2, 3, 5, 8)
    work = cast("Work", SimpleNamespace(
        locality=locality, bindings={f"{role}[{n}]": f"m{n % 3}" for role in "pq" for n in range(8)}, local="here",
        place_of=lambda machine: None if machine == "m2" else machine,
    ))  # fmt: skip
    kept, shown = KeptColumns(work, ready), list[tuple[DataColumns, list[Any]]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wlmctl.orchestrator.ready.MOST_CHANGES", most)
        patch.setattr("wlmctl.orchestrator.kept_columns.MOST_FILLED", most)
        for what, *args in [*steps, ("look",)]:
            match what, args:
                case "put", [n] if n not in ready.tasks:
                    ready.put(n, 0.0, f"r[{n}]")
                case "remove", [n] if n in ready.tasks:
                    ready.remove(n)
                case "take", [values]:
                    ready.take({f"r[{n}]" for n in values})
                case "fill", [role, n, size_bytes]:
                    locality.succeeded(SOURCES.index(role), n, {"bytes": str(size_bytes)})
                case "look", []:
                    anew = locality.columns("r", ready.own_roles, work.bindings, work.place_of)
                    data = kept.columns()
                    filled = {each.partition("[")[0] for each in locality.put_since(0)}
                    assert (data is not None) == (len(filled) == 1)
                    if data is not None:
                        assert by_role(data, ready.own_roles) == by_role(anew, ready.own_roles)
                        shown.append((data, [list(data.machines), *map(list, (data.roles, data.at, data.sizes))]))
    for data, then in shown:
        now = [list(data.machines), list(data.roles), list(data.at), list(data.sizes)]
        assert now == then, "what was shown does not change"


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
