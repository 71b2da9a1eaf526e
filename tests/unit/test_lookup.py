"""Finding an experiment's tasks, machines and folders by what a user writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stored import open_database, put, template
from wlmctl.config import load_config
from wlmctl.config.model import Config
from wlmctl.errors import NoSuch, UsageError
from wlmctl.experiment import to_document
from wlmctl.experiment.model import Experiment, Role
from wlmctl.machine import Requirement
from wlmctl.runtime.lookup import experiment_folder, machine_of_role, tasks_named
from wlmctl.store import experiments
from wlmctl.store.database import Database
from wlmctl.store.record import Recorder
from wlmctl.store.rows import ExperimentRow

ROLES = {
    "store": Role("store", machine="nas"),
    "compute": Role("compute", requires=Requirement(cpus=1)),
    "many": Role("many", requires=Requirement(cpus=1), each="i"),
}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path) as database:
        yield database


@pytest.fixture
def row(db: Database) -> ExperimentRow:
    templates = [template("sim", count=3), template("end")]
    seq = put(db, templates)
    document = to_document(Experiment("pi", tuple(templates), ROLES))
    with db.transaction():
        experiments.replace_text(db, seq, json.dumps(document), {})
        recorder = Recorder(db, seq, 0.0)
        recorder.bind("many[1]", "cluster")
        recorder.bind("many[2]", "nas")
        recorder.flush()
    found = experiments.get(db, seq)
    assert found is not None
    return found


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "wlmctl.toml"
    file.write_text(f'[machines.local]\nscratch = "{tmp_path}/scratch"\n[machines.nas]\nhost = "nas"\n')
    return load_config(str(file))


@pytest.mark.parametrize(
    ("text", "names"),
    [("sim", ["sim[1]", "sim[2]", "sim[3]"]), ("sim:2", ["sim[2]"]), ("sim[2]", ["sim[2]"]), ("end", ["end"])],
)
def test_a_task_is_named_in_each_way(db: Database, row: ExperimentRow, text: str, names: list[str]) -> None:
    assert [task.name for task in tasks_named(db, row, text)] == names


@pytest.mark.parametrize("text", ["sim[7]", "si", "nope"])
def test_an_unknown_task_is_no_such(db: Database, row: ExperimentRow, text: str) -> None:
    with pytest.raises(NoSuch, match="has no task"):
        tasks_named(db, row, text)


@pytest.mark.parametrize(
    ("role", "machine"), [("store", "nas"), ("many[2]", "nas"), ("many[1]", "cluster"), ("local", "local"), ("x", "x")]
)
def test_a_role_is_its_machine(db: Database, row: ExperimentRow, role: str, machine: str) -> None:
    assert machine_of_role(db, row, role) == machine


@pytest.mark.parametrize(
    ("role", "said"), [("compute", "not bound to a machine yet"), ("many", "has several machines: name one")]
)
def test_a_role_without_one_machine_says_why(db: Database, row: ExperimentRow, role: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        machine_of_role(db, row, role)


def test_on_local_the_folder_is_that_of_the_experiment_file(db: Database, row: ExperimentRow, config: Config) -> None:
    machine, folder = experiment_folder(config, db, row.id[:4], "local")
    assert (machine.name, folder) == ("local", "/data/pi")


def test_the_local_part_of_another_host_is_refused(db: Database, row: ExperimentRow, config: Config) -> None:
    db.execute("UPDATE experiments SET host = 'elsewhere', host_name = 'their-laptop'")
    with pytest.raises(UsageError, match="lies on their-laptop"):
        experiment_folder(config, db, row.id, "local")


def test_a_machine_that_the_inventory_does_not_know_is_no_such(
    db: Database, row: ExperimentRow, config: Config
) -> None:
    with pytest.raises(NoSuch, match="no machine 'cluster'"):
        experiment_folder(config, db, row.id, "many[1]")
