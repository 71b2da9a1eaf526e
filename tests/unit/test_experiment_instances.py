"""Instances, the stored document, digests and selectors."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.reading import experiment, job, mistakes
from wlmctl import plugins
from wlmctl.errors import SpecError, UsageError
from wlmctl.experiment import (
    Instances,
    content_digest,
    from_document,
    instance,
    parse_task_selector,
    read,
    runtime_references,
    to_document,
)
from wlmctl.experiment.model import Need, Template
from wlmctl.task import Deferred, Done
from wlmctl.task_context import TaskContext

WHOLE = """name: pi
project: lab-a
labels: [a, "site=b"]
priority: 7
start: "+2h"
max_running: 5
params: {p: 0.10}
machines: {m: {requires: {labels: [gpu], memory: 1GiB}, each: seed}, s: nas}
tasks:
  setup: {type: environment, machine: s, commands: [make], files: {x: {from: x.sh}}}
  sim:
    type: job
    machine: m
    needs: [{setup: ended}]
    foreach: {seed: 1..3}
    command: [run, "${p}", "${seed}", "${tasks.setup.folder}"]
    outputs: {e: {file: "e${seed}"}}
    resources: {cpus: "${seed}"}
    may_fail: true
  post: {type: job, foreach: {seed: 1..3}, needs: ["sim[${seed}]"], command: "echo ${tasks.sim[${seed}].outputs.e}"}
"""


def test_a_document_is_plain_json_and_gives_the_experiment_back(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true")
    found = experiment(tmp_path, WHOLE)
    document = to_document(found)
    assert from_document(json.loads(json.dumps(document)), found.files) == found
    assert from_document(msgspec.json.decode(msgspec.json.encode(document)), found.files) == found


def test_a_folder_that_is_not_utf_8_survives_the_document(tmp_path: Path) -> None:
    found = replace(experiment(tmp_path, job()), folder="/data/\udcff")
    assert from_document(msgspec.json.decode(msgspec.json.encode(to_document(found)))).folder == "/data/\udcff"


def test_the_digest_is_that_of_the_content_and_not_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true")
    found = experiment(tmp_path, WHOLE)
    digest = content_digest(found)
    assert len(digest) == 64
    assert content_digest(experiment(tmp_path, "# a comment\n" + WHOLE)) == digest
    assert content_digest(replace(found, folder="/elsewhere")) == digest
    assert content_digest(experiment(tmp_path, WHOLE, params={"p": "0.1"})) != digest
    (tmp_path / "x.sh").write_text("false")
    assert content_digest(experiment(tmp_path, WHOLE)) != digest


def test_run_time_references_are_named_between_templates(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true")
    setup, sim, post = experiment(tmp_path, WHOLE).templates
    assert runtime_references(setup) == set()
    assert runtime_references(sim) == {("setup", "folder", "")}
    assert runtime_references(post) == {("sim", "output", "e")}


def test_an_instance_has_its_row_put_in(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true")
    sim = experiment(tmp_path, WHOLE).templates[1]
    made = instance(sim, 2, {"tasks.setup.folder": "/e"}, task_type=plugins.task_type)
    assert made.text["command"] == ["run", "0.10", "3", "/e"]
    assert made.text["outputs"] == {"e": {"file": "e3"}}
    assert (made.roles, made.resources.cpus) == (("m",), 3)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("simulate", ("simulate", None)),
        ("simulate:300,1", ("simulate", "300,1")),
        ("simulate[300,1]", ("simulate", "300,1")),
        ("simulate:@3", ("simulate", "@3")),
    ],
)
def test_a_task_is_selected_with_brackets_or_a_colon(text: str, selected: tuple[str, str | None]) -> None:
    assert parse_task_selector(text) == selected


@pytest.mark.parametrize("text", ["", "a b", "a[", "a[1", "a[]", "a:", "[1]", "a[1]x", "-a"])
def test_what_selects_no_task_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a task: NAME, NAME:VALUE"):
        parse_task_selector(text)


@dataclass(frozen=True)
class NoteSpec:
    on: str
    text: str = ""


class CountingType:
    """A task type of another distribution, which counts how often it is asked."""

    def __init__(self) -> None:
        self.parsed = 0

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> NoteSpec:
        self.parsed += 1
        if "bad" in mapping.get("text", ""):
            raise SpecError("text", "found 'bad'", "something good")
        return NoteSpec(**mapping)

    def machines(self, spec: NoteSpec) -> Sequence[str]:
        return [spec.on]

    def execute(self, spec: NoteSpec, context: TaskContext) -> Done | Deferred:
        return Done()


NOTE = "name: x\ntasks:\n  t:\n    type: note\n    on: nas\n    foreach: {n: 1..10000}\n    text: 'note ${n}'\n"


def test_roles_that_do_not_depend_on_values_are_worked_out_once() -> None:
    kind = CountingType()
    rows = [(str(n),) for n in range(1000)]
    instances = Instances(
        Template("t", "note", {"on": "nas", "text": "\ue000n\ue001"}, {}, ("n",), rows), lambda _name: kind
    )
    made = [instances.at(position) for position in range(1000)]
    assert {each.roles for each in made} == {("nas",)}
    assert made[7].text == {"on": "nas", "text": "7"}
    assert kind.parsed == 1


def test_roles_that_depend_on_values_are_worked_out_for_each() -> None:
    instances = Instances(
        Template("t", "note", {"on": "m-\ue000n\ue001"}, {}, ("n",), [("a",), ("b",)]), lambda _name: CountingType()
    )
    assert [instances.at(position).roles for position in range(2)] == [("m-a",), ("m-b",)]


def test_a_type_of_another_distribution_is_checked_by_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(NOTE)
    kind = CountingType()
    assert read("x.yaml", task_type=lambda _name: kind, cwd=tmp_path).task_count == 10_000
    assert kind.parsed < 3000
    found = mistakes_of(tmp_path, NOTE.replace("'note ${n}'", "'bad ${n}'"), kind)
    assert found == ["x.yaml:7: tasks.t.text: found 'bad', expected something good (in t[1])"]
    found = mistakes_of(tmp_path, NOTE.replace("text:", "txet:"), kind)
    assert found[0].startswith("x.yaml:7: tasks.t.txet: unknown key of a note task, expected one of on, text, type,")
    assert found[0].endswith("(did you mean 'text'?)")


def mistakes_of(folder: Path, text: str, kind: CountingType) -> list[str]:
    from wlmctl.errors import InvalidFile

    (folder / "x.yaml").write_text(text)
    with pytest.raises(InvalidFile) as caught:
        read("x.yaml", task_type=lambda _name: kind, cwd=folder)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_two_keys_that_become_the_same_are_a_mistake(tmp_path: Path) -> None:
    text = "name: x\nparams: {a: f, b: f}\ntasks:\n  t:\n    type: environment\n    files:\n"
    text += "      ${a}: {content: a}\n      ${b}: {content: b}\n"
    assert mistakes(tmp_path, text) == [
        "x.yaml:8: tasks.t.files.${b}: 'f' again, once its values are put in, expected each key once"
    ]


def test_partners_stay_partners_in_the_document(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("true")
    post = from_document(to_document(experiment(tmp_path, WHOLE))).templates[2]
    assert post.needs == (Need("sim", "succeeded", "same"),)
    assert Instances(post, plugins.task_type).runtime_names(2) == ("tasks.sim[3].outputs.e",)


def test_fifty_thousand_instances_are_cheap(tmp_path: Path) -> None:
    text = job("foreach: {seed: 1..50000}\nenv: {X: '${seed}'}")
    experiment(tmp_path, job())  # the imports are not what this is about
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    found = experiment(tmp_path, text)
    read_s = time.process_time() - started
    instances = Instances(found.templates[0], plugins.task_type)
    started = time.process_time()
    for position in range(50_000):
        instances.at(position)
    assert found.task_count == 50_000
    assert read_s < 0.8
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 40_000
