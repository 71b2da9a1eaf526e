"""What a task says to a batch system is looked at with the rest of its file: by line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from wlmctl import plugins
from wlmctl.errors import InvalidFile, Mistake
from wlmctl.experiment import read
from wlmctl.machine import Machine
from wlmctl.runtime.batch_options import options_check

FILE = """name: options
tasks:
  first: {{type: job, machine: cluster, command: "true", outputs: {{queue: {{file: f}}}}}}
  it:
    type: job
    machine: cluster
    needs: [first]
    command: "true"
    foreach: {{n: 1..3}}
    batch: {batch}
"""


def mistakes(folder: Path, batch: str, system: str = "slurm") -> list[str]:
    path = folder / "file.yaml"
    path.write_text(FILE.format(batch=batch))
    machines = {"cluster": Machine("cluster", host="cluster", batch=system)}
    found: list[Mistake] = []
    try:
        read(str(path), machines=machines, task_type=plugins.task_type, check=options_check(machines))
    except InvalidFile as error:
        found = error.mistakes
    assert {mistake.line for mistake in found} <= {10}
    return [f"{mistake.key}: {mistake.found}, {mistake.expected}, {mistake.hint}" for mistake in found]


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ("{slurm: {extra: ['--requeue']}}", "batch.slurm.extra: '--requeue' is refused: a job that is run again"),
        ("{sge: {extra: ['-r', 'y']}}", "batch.sge.extra: '-r' is refused"),
        (
            "{slurm: {partitoin: main}}",
            "batch.slurm.partitoin: the batch system slurm has no such option; did you mean",
        ),
        ("{slrm: {partition: main}}", "batch.slrm: no such batch system, one of "),
        ("{shell: {partition: main}}", "batch.shell.partition: the batch system shell has no options"),
    ],
)
def test_what_no_batch_system_takes_is_a_mistake_of_the_file(tmp_path: Path, batch: str, told: str) -> None:
    (mistake,) = mistakes(tmp_path, batch)
    assert mistake.startswith(f"tasks.it.{told}")


def test_all_wrong_options_are_told_at_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "{slurm: {acount: a, lost_after: soon}, pbs: {queue: a b}}")
    assert [mistake.partition(":")[0] for mistake in found] == [
        "tasks.it.batch.slurm.acount",
        "tasks.it.batch.slurm.lost_after",
        "tasks.it.batch.pbs.queue",
    ]


@pytest.mark.parametrize(
    ("batch", "system"),
    [
        ("{slurm: {partition: main}, sge: {queue: main}}", "slurm"),
        (
            "{slurm: {partition: '${tasks.first.outputs.queue}', extra: ['--qos=${tasks.first.outputs.queue}']}}",
            "slurm",
        ),
        ("{condor: {universe: vanilla}}", "condor"),
    ],
    ids=["of several systems", "known at run time only", "of a system that only the orchestrator has"],
)
def test_what_may_be_right_is_no_mistake(tmp_path: Path, batch: str, system: str) -> None:
    assert mistakes(tmp_path, batch, system) == []
