"""Groups of machines, and clusters with several login nodes: what the configuration says, and what files may name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reading import experiment, job, mistakes
from wlmctl.config import Config, load_config
from wlmctl.errors import InvalidFile, LoginRefused, NoSuch, Unreachable, UntrustedHost
from wlmctl.experiment.model import Role
from wlmctl.login_nodes import LoginNodes
from wlmctl.machine import Machine, Requirement

MACHINES = """[machines.alpha]
host = "a"
labels = ["gpu"]
[machines.beta]
host = "b"
"""


def load(tmp_path: Path, text: str) -> Config:
    (tmp_path / "wlmctl.toml").write_text(MACHINES + text)
    return load_config(environ={"HOME": str(tmp_path / "home")}, cwd=tmp_path)


def test_the_machines_of_a_group_carry_its_name_as_a_label(tmp_path: Path) -> None:
    text = '[groups.lab]\nmachines = ["alpha", "beta"]\n[groups.one]\nmachines = ["alpha"]\n'
    config = load(tmp_path, text)
    assert config.machines["alpha"].labels == ("gpu", "group=lab", "group=one")
    assert config.machines["beta"].labels == ("group=lab",)
    assert [machine.name for machine in config.machines_of(["beta", "lab", "local"])] == ["beta", "alpha", "local"]
    with pytest.raises(NoSuch, match="it is a group of alpha, beta: name one of them"):
        config.machine("lab")
    with pytest.raises(NoSuch, match="did you mean 'lab'"):
        config.machine("lap")


def test_a_group_of_one_file_may_name_machines_of_another(tmp_path: Path) -> None:
    users = tmp_path / "home" / ".config" / "wlmctl"
    users.mkdir(parents=True)
    (users / "wlmctl.toml").write_text('[groups.lab]\nmachines = ["alpha"]\n')
    assert load(tmp_path, "").machines["alpha"].labels == ("gpu", "group=lab")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[groups.lab]\nmachines = ["alpah"]', "7: groups.lab.machines: no machine 'alpah', expected names of"
         " [machines.NAME] (did you mean 'alpha'?)"),
        ("[groups.lab]\nmachines = []",
         '7: groups.lab.machines: [], expected a list of names such as ["alpha", "beta"]'),
        ('[groups.alpha]\nmachines = ["beta"]', "7: groups.alpha.machines: alpha is a machine, too, expected a name"
         " that no machine has"),
        ('[groups.lab]\nmachine = "beta"', "6: groups.lab: {'machine': 'beta'}, expected a table [groups.lab] with"
         ' machines = ["NAME", ...]'),
        ('[groups.lab]\nmachines = ["beta"]\nsame = true', "8: groups.lab.same: an unknown key (known: machines)"),
        ('[groups."a b"]\nmachines = ["beta"]', "6: groups.a b: a wrong name, expected a name: letters, digits and"
         " _ . - (at most 64, the first a letter or a digit)"),
        ('logins = "c"', '6: machines.beta.logins: \'c\', expected a list of hosts such as ["login2.cluster.example"]'),
        ('logins = ["c"]', '6: machines.beta.logins: logins with batch = "shell", expected a batch system with a queue'
         " (what one login node starts as its own processes the others cannot see)"),
    ],
)  # fmt: skip
def test_a_wrong_group_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        load(tmp_path, text + "\n")
    assert [str(mistake).removeprefix(f"{tmp_path}/wlmctl.toml:") for mistake in caught.value.mistakes] == [line]


LAB = {name: Machine(name, host=name, labels=("group=lab",)) for name in ("alpha", "beta")}


def test_a_group_stands_for_a_role_that_each_of_its_machines_fits(tmp_path: Path) -> None:
    role = Requirement(labels=("group=lab",))
    assert experiment(tmp_path, job("machine: lab"), machines=LAB).roles == {"lab": Role("lab", requires=role)}
    declared = experiment(tmp_path, job("machine: there", head="name: x\nmachines: {there: lab}\n"), machines=LAB)
    assert declared.roles == {"there": Role("there", requires=role)}
    assert experiment(tmp_path, job("machine: alpha"), machines=LAB).roles == {}
    assert role.misfit(Machine("gamma")) == "is not in the group lab"
    assert role.misfit(LAB["beta"]) is None


def test_too_little_memory_is_told_as_people_write_it() -> None:
    role = Requirement(memory_bytes=64 * 2**30)
    assert role.misfit(Machine("m", memory_bytes=2**31)) == "has 2.0 GiB of memory, 64.0 GiB are required"
    nearly = role.misfit(Machine("m", memory_bytes=64 * 2**30 - 1))
    assert nearly == "has 68,719,476,735 bytes of memory, 68,719,476,736 bytes are required"


def test_a_name_that_is_neither_machine_nor_group_is_told_what_there_is(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, job("machine: lba"), machines=LAB)
    assert "no role or machine 'lba', expected one of alpha, beta, lab, local (did you mean 'lab'?)" in found
    (found,) = mistakes(tmp_path, job("machine: it", head="name: x\nmachines: {it: lba}\n"), machines=LAB)
    assert "no machine 'lba', expected one of alpha, beta, lab, local (did you mean 'lab'?)" in found


CLUSTER = Machine("cluster", host="one", logins=("two", "three"), batch="slurm")


class Logins:
    """Login nodes of which some are away."""

    def __init__(self, away: dict[str, Exception]) -> None:
        self.away, self.tried = away, list[str]()

    def use(self, node: Machine) -> str:
        assert node == replace(CLUSTER, host=node.host, logins=())
        self.tried.append(str(node.host))
        if str(node.host) in self.away:
            raise self.away[str(node.host)]
        return str(node.host)


def test_a_login_node_is_used_as_long_as_it_answers_and_then_the_next_one() -> None:
    logins, nodes = Logins({"one": Unreachable("one is away")}), LoginNodes()
    assert [nodes.through(CLUSTER, logins.use) for _ in range(2)] == ["two", "two"]
    assert logins.tried == ["one", "two", "two"]
    logins.away = {"two": LoginRefused("two says no"), "three": Unreachable("three is away")}
    assert nodes.through(CLUSTER, logins.use) == "one"
    assert logins.tried[3:] == ["two", "three", "one"]


@pytest.mark.parametrize(
    ("away", "kind"),
    [
        ([Unreachable("a"), LoginRefused("b"), Unreachable("c")], Unreachable),
        ([LoginRefused("a"), LoginRefused("b"), LoginRefused("c")], LoginRefused),
        ([UntrustedHost("a"), UntrustedHost("b"), UntrustedHost("c")], UntrustedHost),
    ],
)
def test_where_no_login_node_can_be_used_each_says_why(away: Sequence[Exception], kind: type[Exception]) -> None:
    logins = Logins(dict(zip(("one", "two", "three"), away, strict=True)))
    with pytest.raises(Unreachable) as caught:
        LoginNodes().through(CLUSTER, logins.use)
    assert (type(caught.value), str(caught.value)) == (kind, "a; b; c")
