"""The JSON Schema accepts what the validator accepts, and rejects what the validator rejects where it can say so."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from tests.reading import mistakes
from wlmctl import plugins
from wlmctl.cli.validate import schema as schema_command
from wlmctl.experiment import schema
from wlmctl.experiment.yamltree import parse, to_plain

WHOLE = """name: pi
project: lab-a
labels: [paper-2, "site=a"]
priority: normal
start: 2027-01-10T02:00:00Z
deadline: +8h
max_running: 50
on_failure: continue
params: {samples: 100000, title: t}
machines:
  compute: {requires: {labels: [gpu], cpus: 8, memory: 1GiB}, each: seed}
  store: nas
clean: never
tasks:
  setup:
    type: environment
    machine: store
    directories: [work]
    files: {work/run.sh: {content: "x", mode: 0755}, work/note: {content: "made by ${title}\\n"}}
    commands: ["python3 -m venv .venv"]
    modules: [gcc/13, openmpi]
  fetch:
    type: stage
    needs: [setup]
    from: store:/data/points.csv
    to: local:work/
    exclude: ["*.tmp"]
    symlinks: keep
    verify: sha256
  simulate:
    type: job
    needs: [fetch]
    machine: compute
    directory: work
    foreach: {seed: 1..4}
    command: ["./run.sh", "${samples}", "${seed}"]
    env: {OMP_NUM_THREADS: "8", TITLE: "${title}"}
    resources: {cpus: 1, memory: 512MiB, gpus: 0, nodes: 1, walltime: 10m, counters: {matlab: 2}}
    batch: {slurm: {account: p1, partition: gpu, extra: ["--exclusive"]}}
    outputs: {energy: {file: "out-${seed}.json", json: $.energy}, loss: {file: log, regex: 'loss (\\S+)', as: float}}
    retry:
      {limit: 3, delay: 10s, backoff: 2, on: [user, time, memory], memory: {resources: {memory: x2, cpus: 4}}}
    timeout: 2h
    worker: {labels: [site=a]}
    may_fail: false
  rows:
    type: job
    foreach: [{t: 300, p: 1}, {t: 310, p: 2}]
    command: echo ${t}
    timeout: 1-12:00:00
  collect:
    type: stage
    needs: [{simulate: ended}, "rows[300,1]"]
    from: [local:work/out-*.json]
    to: local:results/
"""

#: (what stands in WHOLE, what it is changed to)
MUTATIONS = [
    ("name: pi", "name: a b"),
    ("name: pi", "nam: pi"),
    ("name: pi", "name: [pi]"),
    ("project: lab-a", "project: a b"),
    ("labels: [paper-2,", "labels: [3,"),
    ('labels: [paper-2, "site=a"]', "labels: paper-2"),
    ("priority: normal", "priority: hihg"),
    ("priority: normal", "priority: 10"),
    ("02:00:00Z", "02:00:00"),
    ("start: 2027-01-10T02:00:00Z", "start: soon"),
    ("max_running: 50", "max_running: 0"),
    ("max_running: 50", "max_running: many"),
    ("on_failure: continue", "on_failure: go"),
    ("title: t}", "title: [t]}"),
    ("store: nas", "local: nas"),
    ("cpus: 8,", "cpu: 8,"),
    ("requires: {labels", "require: {labels"),
    ("clean: never", "clean: maybe"),
    ("clean: never", "schedule: {cron: x}"),
    ("clean: never", 'schedule: {cron: "0 2 * * *", overlap: wait}'),
    ("deadline: +8h", "deadline: 2h"),
    ("    machine: store\n", "    machne: store\n"),
    ("directories: [work]", "directories: work"),
    ("mode: 0755", "mode: 999"),
    ('content: "x", mode', "mode"),
    ("type: stage\n    needs: [setup]", "type: stage\n    needs: setup"),
    ("    to: local:work/\n", ""),
    ("from: store:/data/points.csv", "from: points.csv"),
    ("symlinks: keep", "symlinks: kepe"),
    ("verify: sha256", "verify: md5"),
    ("seed: 1..4", "seed: 4"),
    ("seed: 1..4", "seed: []"),
    ('command: ["./run.sh", "${samples}", "${seed}"]', "command: []"),
    ('OMP_NUM_THREADS: "8"', 'WLMCTL_X: "8"'),
    ("cpus: 1,", "cpus: 0,"),
    ("memory: 512MiB", "memory: 512XB"),
    ("walltime: 10m", "walltime: ten"),
    ("{matlab: 2}", "{matlab: 0}"),
    ("{matlab: 2}", "[matlab]"),
    ("limit: 3", "limit: -1"),
    ("on: [user, time, memory]", "on: [usr]"),
    ("memory: x2", "memory: x"),
    ("as: float", "as: number"),
    ("as: float", "text: true"),
    ("as: float", "json: $.loss"),
    ("modules: [gcc/13, openmpi]", "modules: gcc/13"),
    ("memory: x2", "memroy: x2"),
    ("{resources: {memory: x2, cpus: 4}}", "{resources: {}}"),
    ("timeout: 2h", "timeout: soon"),
    ("worker: {labels: [site=a]}", "worker: [site=a]"),
    ("may_fail: false", "may_fail: no"),
    ("may_fail: false", "pack: 0"),
    ("file: \"out-${seed}.json\", json", "text: a, json"),
    ("simulate: ended", "simulate: finished"),
    ("foreach: [{t: 300, p: 1}, {t: 310, p: 2}]", "foreach: []"),
    ("type: job\n    foreach: [", "type: jobb\n    foreach: ["),
    ("timeout: 1-12:00:00", "timeout: 1-12:00"),
    ("tasks:\n  setup:", "tasks:\n  set up:"),
]  # fmt: skip


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    document = schema({name: plugins.task_type(name) for name in plugins.names("task")})
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def is_valid(text: str) -> bool:
    node = parse(text, "x.yaml")
    assert node is not None
    return bool(validator().is_valid(to_plain(node)))


def test_the_whole_file_is_valid_for_both(tmp_path: Path) -> None:
    assert mistakes(tmp_path, WHOLE) == []
    validator().validate(to_plain(parse(WHOLE, "x.yaml") or pytest.fail("no tree")))


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=[f"{new.strip()[:40]}" for _, new in MUTATIONS])
def test_both_reject_a_mutation(tmp_path: Path, old: str, new: str) -> None:
    assert old in WHOLE
    mutated = WHOLE.replace(old, new, 1)
    assert mistakes(tmp_path, mutated)
    assert not is_valid(mutated)


def test_the_example_of_the_reference_is_valid(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "experiment-file.md"
    text = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    assert mistakes(tmp_path, text) == []
    assert is_valid(text)


def test_every_example_is_valid() -> None:
    examples = Path(__file__).parents[2] / "examples"
    # The example of a plugin uses a task type of its own, which is not installed here.
    for file in sorted(set(examples.glob("**/*.yaml")) - set(examples.glob("plugin/**/*.yaml"))):
        node = parse(file.read_text(encoding="utf-8"), file.name)
        assert node is not None
        errors = [error.message for error in validator().iter_errors(to_plain(node))]
        assert errors == [], file


@dataclass(frozen=True)
class Nested:
    n: int


@dataclass(frozen=True)
class Spec:
    from_: str
    count: int = 1
    ways: list[str] = field(default_factory=list)
    nested: Nested | None = None
    free: Any = field(default=None, metadata={"schema": {"enum": ["a", "b"]}})


class FromDataclass:
    def parse(self, mapping: Any, folder: Path) -> Spec:
        raise NotImplementedError

    def machines(self, spec: Spec) -> list[str]:
        return []

    def execute(self, spec: Spec, context: Any) -> Any:
        raise NotImplementedError


def test_a_types_keys_come_from_the_dataclass_of_its_spec() -> None:
    document = schema({"mine": FromDataclass()})
    check = jsonschema.Draft202012Validator(document)
    good = {"type": "mine", "from": "x", "count": 3, "ways": ["a"], "nested": {"n": 1}, "free": "a"}
    check.validate({"name": "x", "tasks": {"t": good}})
    for key, value in [("count", "x"), ("ways", [1]), ("nested", {"m": 1}), ("free", "c"), ("from_", "x")]:
        assert not check.is_valid({"name": "x", "tasks": {"t": {**good, key: value}}})
    del good["from"]
    assert not check.is_valid({"name": "x", "tasks": {"t": good}})


def test_the_command_prints_the_schema_of_the_installed_types() -> None:
    result = CliRunner().invoke(schema_command, [])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert {"task_environment", "task_job", "task_stage"} <= document["$defs"].keys()
