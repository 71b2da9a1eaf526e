"""Random roles of an ``each`` under a scheduler that binds and starts at random: what is shown is always right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.orchestra import Orchestra, assert_told_in_full
from tests.play import BROKEN, Clock, inventory, machine, play_types
from wlmctl.experiment import from_document
from wlmctl.message import Outcome
from wlmctl.role_classes import apart
from wlmctl.scheduler import Assignment, Binding, Decision, Scheduler, Snapshot
from wlmctl.store import experiments

MACHINES = inventory(machine("nas"), *(machine(name, cpus=3, labels=("x",)) for name in ("m", "n", "o")))
ROLES = "machines: {p: {requires: {labels: [x]}}, r: {requires: {labels: [x]}, each: n}, s: {requires: {}, each: n}}\n"


def random_experiment(chance: Random) -> str:
    lines = []
    for number in range(chance.randint(1, 5)):
        first, *others = chance.sample(["p", "r", "r", "s", "m", "nas"], 2)
        count = chance.randint(1, 6)
        keys = [f"machine: {first}", f"foreach: {{n: [{', '.join(map(str, chance.sample(range(1, 7), count)))}]}}"]
        keys += [f"also: {each}" for each in others if chance.random() < 0.5 and each != first]
        if chance.random() < 0.3:
            keys.append("retry: {limit: 1, delay: 1}")
        kind = chance.choice(["step", "play", "carry"])
        if kind == "play":
            keys.append(f"resources: {{cpus: {chance.choice([1, 2])}}}")
        if number and chance.random() < 0.5:
            keys.append(f"needs: [t{chance.randrange(number)}]")
        lines.append(f"  t{number}: {{type: {kind}, {', '.join(keys)}}}\n")
    limit = f"max_running: {chance.randint(1, 5)}\n" if chance.random() < 0.3 else ""
    return f"{limit}{ROLES}tasks:\n{''.join(lines)}"


class AtRandom(Scheduler):
    """Decides anything that is legal, and at times something that is not; ``is_kind``: as much as it can."""

    def __init__(self, chance: Random, *, by_class: bool) -> None:
        self._chance, self.by_class, self.is_kind = chance, by_class, False
        #: What was not right of what it was shown: what a scheduler raises is contained.
        self.wrong: list[AssertionError] = []

    def assign(self, snapshot: Snapshot) -> Decision:
        try:
            assert_is_right(snapshot)
        except AssertionError as error:
            self.wrong.append(error)
        chance, likely = self._chance, 1.0 if self.is_kind else self._chance.choice([0.1, 0.5, 1.0])
        names = [name for name in snapshot.machines if name in ("m", "n", "o")]
        open_ = [(role.experiment, role.role) for role in snapshot.roles]
        open_ += [(alike.experiment, name) for alike in snapshot.role_classes for name in alike.roles]
        bound = {each: chance.choice(names) for each in open_ if chance.random() < likely}
        tasks = list[Assignment]()
        for group in snapshot.groups:
            for number, task in enumerate(group.tasks):
                own = group.own_roles[number] if group.own_roles else group.unbound
                where = group.machine if group.machine is not None else bound.get((group.experiment, own or ""))
                if where is not None and chance.random() < likely:
                    tasks.append(Assignment(task, where))
        if not self.is_kind and chance.random() < 0.1:
            tasks.append(None)  # type: ignore[arg-type]
        chance.shuffle(tasks)
        return Decision(tasks, [Binding(*each, where) for each, where in bound.items()])


def assert_is_right(snapshot: Snapshot) -> None:
    """Each open role is shown once, each task once, and those of a class are the roles that its groups wait for."""
    groups = {group.id: group for group in snapshot.groups}
    assert len(groups) == len(snapshot.groups)
    tasks = Counter(task for group in snapshot.groups for task in group.tasks)
    assert set(tasks.values()) <= {1}
    bound = {(each.experiment, each.role) for each in snapshot.bindings}
    alone = {(role.experiment, role.role) for role in snapshot.roles}
    inside = [(alike.experiment, name) for alike in snapshot.role_classes for name in alike.roles]
    assert len(inside) == len(set(inside))
    assert not alone & set(inside)
    assert not bound & (alone | set(inside))
    waited = {name: alike for alike in snapshot.role_classes for name in alike.groups}
    for group in snapshot.groups:
        if not group.own_roles:
            assert group.id not in waited
            assert group.unbound is None or (group.experiment, group.unbound) in alone
            continue
        assert len(group.own_roles) == len(group.tasks)
        assert {name.partition("[")[0] for name in group.own_roles} == {group.unbound}
        assert set(group.own_roles) <= set(waited[group.id].roles)
    for alike in snapshot.role_classes:
        own = [name for group in alike.groups for name in groups[group].own_roles]
        assert list(alike.roles) == list(dict.fromkeys(own))
    parts = apart(snapshot).snapshot
    assert Counter(task for group in parts.groups for task in group.tasks) == tasks
    assert {(role.experiment, role.role) for role in parts.roles} == alone | set(inside)


@pytest.mark.parametrize("by_class", [True, False])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_whatever_is_decided_each_role_is_bound_once_and_its_tasks_go_there(by_class: bool, seed: int) -> None:
    chance, clock = Random(seed), Clock()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        play_types(patch, clock)
        patch.setattr("wlmctl.orchestrator.placing.VIEW", chance.choice([1, 3, 200]))
        scheduler = AtRandom(chance, by_class=by_class)
        play = Orchestra(Path(folder), MACHINES, clock=clock, slots=chance.choice([2, 4, 9]), scheduler=scheduler)
        play.others.execute("PRAGMA synchronous = OFF")
        try:
            seqs = [play.submit(random_experiment(chance)) for _ in range(chance.randint(1, 2))]
            for number in range(80):
                scheduler.is_kind = number > 20
                play.step(chance.choice([0, 1, 61]) if number <= 20 else 61)
                for message in chance.sample(play.tasks, len(play.tasks)):
                    if chance.random() < 0.7:
                        done = Outcome("done", outputs={"bytes": str(chance.randint(0, 99))})
                        play.end(message, done if number > 20 or chance.random() < 0.9 else BROKEN)
                if number <= 20 and chance.random() < 0.1:
                    play.lead()
                if all(
                    state in ("succeeded", "failed", "skipped") for seq in seqs for state in play.states(seq).values()
                ):
                    break
            for error in scheduler.wrong:
                raise error
            for seq in seqs:
                assert {*play.states(seq).values()} <= {"succeeded", "failed", "skipped"}
                assert_at_its_roles(play, seq)
            assert_told_in_full(play.others, seqs)
        finally:
            play.close()


def assert_at_its_roles(play: Orchestra, seq: int) -> None:
    bound = dict(play.others.rows("SELECT role, machine FROM bindings WHERE exp = ?", (seq,)))
    templates = from_document(experiments.document(play.others, seq)).templates
    for row in play.rows(seq).values():
        role, [value] = templates[row.template].text["machine"], templates[row.template].rows[row.position]
        if row.machine is not None:
            assert row.machine == bound.get(f"{role}[{value}]", bound.get(role, role))
