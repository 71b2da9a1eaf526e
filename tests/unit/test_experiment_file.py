"""The experiment file as a whole: its header, roles, common keys and task types, and every mistake by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reading import experiment, job, mistakes
from wlmctl import plugins
from wlmctl.experiment import from_document, instance, to_document
from wlmctl.experiment.model import Retry, Role, Times
from wlmctl.machine import Requirement
from wlmctl.task import Resources

NAME = "a name: 1-40 letters, digits, _ and -, the first a letter or digit"
NOT_YET = "not yet: this is reserved for a later version"


def test_a_small_file_has_the_documented_defaults(tmp_path: Path) -> None:
    found = experiment(tmp_path, job())
    assert (found.name, found.priority, found.on_failure, found.clean) == ("x", 4, "continue", "never")
    assert (found.project, found.start, found.start_after_s, found.max_running) == (None, None, None, None)
    assert (found.labels, found.params, found.roles, found.files) == ((), {}, {}, {})
    assert found.folder == str(tmp_path)
    made = instance(found.templates[0], 0, task_type=plugins.task_type)
    assert (made.roles, made.resources, made.retry, made.timeout_s) == (("local",), Resources(), None, None)


def test_the_header_is_read(tmp_path: Path) -> None:
    head = """name: pi
project: lab-a
labels: [paper-2, "site=a", paper-2]
priority: urgent
start: 2027-01-10T02:00:00+02:00
max_running: 50
on_failure: stop
clean: succeeded
"""
    found = experiment(tmp_path, job(head=head), labels=["more"])
    assert (found.project, found.labels, found.priority) == ("lab-a", ("paper-2", "site=a", "more"), 8)
    assert (found.start, found.max_running, found.on_failure, found.clean) == (
        "2027-01-10T00:00:00Z", 50, "stop", "succeeded",
    )  # fmt: skip


@pytest.mark.parametrize(("written", "seconds"), [("+2h", 7200), ("'+1-12:00:00'", 129600), ("+90", 90)])
def test_a_start_can_count_from_the_submit(tmp_path: Path, written: str, seconds: float) -> None:
    found = experiment(tmp_path, job(head=f"name: x\nstart: {written}\n"))
    assert (found.start, found.start_after_s) == (None, seconds)


@pytest.mark.parametrize(
    ("written", "due_s"),
    [("2001-09-09T03:46:40+02:00", 1_000_000_000.0), ("+2h", 500.0 + 7200), ("'+90'", 590)],
)
def test_a_deadline_is_a_time_or_counts_from_the_start(tmp_path: Path, written: str, due_s: float) -> None:
    found = experiment(tmp_path, job(head=f"name: x\ndeadline: {written}\n"))
    assert found.deadline_s(500.0) == due_s
    assert from_document(to_document(found)).deadline_s(500.0) == due_s
    assert experiment(tmp_path, job()).deadline_s(500.0) is None
    assert "deadline" not in to_document(experiment(tmp_path, job())), "digests stay what they were"


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("start: 2027-01-10T02:00:00Z\ndeadline: 2027-01-10T02:00:00+01:00", "found 2027-01-10T01:00:00Z, "
         "expected a time after the start, 2027-01-10T02:00:00Z"),
        ("schedule: {cron: '@daily'}\ndeadline: 2027-01-10T02:00:00Z", "found 2027-01-10T02:00:00Z, "
         'expected a duration after each start such as "+2h", since this file makes a series'),
    ],
)  # fmt: skip
def test_a_deadline_that_nobody_can_keep_is_refused(tmp_path: Path, head: str, line: str) -> None:
    assert mistakes(tmp_path, job(head=f"name: x\n{head}\n")) == [f"x.yaml:3: deadline: {line}"]


def test_a_name_given_on_the_command_line_wins(tmp_path: Path) -> None:
    assert experiment(tmp_path, job(head=""), name="other").name == "other"
    (line,) = mistakes(tmp_path, job(), name="a b")
    assert line == f"x.yaml: --name: found 'a b', expected {NAME}"


START = 'a time with its offset such as 2027-01-10T02:00:00Z, or "+2h"'


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("nmae: x", "nmae: unknown key, expected one of name, project, labels, priority, start, deadline, "
         "max_running, on_failure, params, machines, clean, schedule, tasks (did you mean 'name'?)"),
        ("project: a b", "project: found 'a b', expected a name: 1-100 letters, digits and _ . @ / -"),
        ("labels: gpu", "labels: found 'gpu', expected a list of texts such as [gpu, \"site=a\"]"),
        ("labels: [a, 3]", "labels: found '3', expected a text without control characters for each label"),
        ('labels: ["a\\nb"]', "labels: found 'a\\x0ab', expected a text without control characters for each label"),
        ("priority: hihg", "priority: found 'hihg', expected low, normal, high, urgent, or 0 to 9 (9 goes first)"),
        ("priority: 10", "priority: found '10', expected low, normal, high, urgent, or 0 to 9 (9 goes first)"),
        ("priority: true", "priority: found 'true', expected low, normal, high, urgent, or 0 to 9 (9 goes first)"),
        ("start: 2027-01-10T02:00:00", f"start: '2027-01-10T02:00:00' has no offset, expected {START} "
         "(write 2027-01-10T02:00:00Z for UTC)"),
        ("start: 2027-02-30T02:00:00Z", f"start: found '2027-02-30T02:00:00Z', expected {START}"),
        ("start: +2x", f"start: found '+2x', expected {START}"),
        ("start: tomorrow", f"start: found 'tomorrow', expected {START}"),
        ("max_running: 0", "max_running: found '0', expected a whole number of at least 1"),
        ("max_running: 1.5", "max_running: found '1.5', expected a whole number of at least 1"),
        ("on_failure: cont", "on_failure: found 'cont', expected one of continue, stop"),
        ("clean: yes", "clean: found 'yes', expected one of never, succeeded, always"),
        ("params: [a]", "params: found a list, expected a mapping such as {samples: 100}"),
        ("params: {a b: 1}", f"params.a b: found this name, expected {NAME}"),
        ("deadline: 2h", f"deadline: found '2h', expected {START}"),
        ("project:", "project: found nothing, expected a value (leave the key out)"),
    ],
)  # fmt: skip
def test_a_wrong_header_key_is_one_line(tmp_path: Path, written: str, line: str) -> None:
    found = mistakes(tmp_path, job(head=f"name: x\n{written}\n"))
    assert len(found) == 1
    assert found[0].startswith(f"x.yaml:2: {line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "x.yaml: is empty, expected name: and tasks:"),
        ("- a\n", "x.yaml:1: found a list, expected name: and tasks:"),
        ("name: x\n", "x.yaml:1: tasks: is missing, expected a mapping of tasks"),
        ("name: x\ntasks: {}\n", "x.yaml:2: tasks: found no task, expected at least one task"),
        ("name: x\ntasks: [a]\n", "x.yaml:2: tasks: found a list, expected a mapping of tasks"),
        ("name: x\ntasks:\n", "x.yaml:2: tasks: found nothing, expected a mapping of tasks"),
        ("name: x\ntasks: {a b: {}}\n", f"x.yaml:2: tasks.a b: found this name, expected {NAME}"),
        ('name: x\ntasks: {"a\\x1b": {}}\n', f"x.yaml:2: tasks.a\\x1b: found this name, expected {NAME}"),
        ("name: x\ntasks:\n  a: job\n",
         "x.yaml:3: tasks.a: found 'job', expected a mapping with type and the keys of that type"),
        ("name: x\ntasks:\n  a: {command: run}\n",
         "x.yaml:3: tasks.a.type: is missing, expected the type of the task, such as job, stage or environment"),
        ("tasks: {a: {type: job, command: run}}\n",
         f"x.yaml:1: name: is missing, expected {NAME} (add name: or give --name)"),
        ("name: a b\ntasks: {a: {type: job, command: run}}\n", f"x.yaml:1: name: found 'a b', expected {NAME}"),
        (f"name: {'a' * 41}\ntasks: {{a: {{type: job, command: run}}}}\n",
         f"x.yaml:1: name: found '{'a' * 41}', expected {NAME}"),
    ],
)  # fmt: skip
def test_a_file_without_what_it_needs_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert mistakes(tmp_path, text) == [line]


def test_roles_are_fixed_or_bound_later(tmp_path: Path) -> None:
    head = """name: x
machines:
  store: nas
  here: local
  any: {requires: {}}
  fast: {requires: {labels: [gpu], cpus: 8, memory: 2GiB, gpus: 1}, each: seed}
"""
    assert dict(experiment(tmp_path, job(head=head)).roles) == {
        "store": Role("store", "nas"),
        "here": Role("here", "local"),
        "any": Role("any", requires=Requirement()),
        "fast": Role("fast", requires=Requirement(("gpu",), 8, 2 << 30, 1), each="seed"),
    }


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("local: nas", "machines.local: a role called local, expected another name "
         "(local is always the host where it was submitted)"),
        ("local: {requires: {cpus: 1}}", "machines.local: a role called local, expected another name "
         "(local is always the host where it was submitted)"),
        ("a: nsa", "machines.a: no machine 'nsa', expected one of cluster, gpu-box, local, nas (did you mean 'nas'?)"),
        ("a: zzz", "machines.a: no machine 'zzz', expected one of cluster, gpu-box, local, nas "
         "(declare it under machines, or add it to wlmctl.toml)"),
        ("a: {require: {cpus: 1}}", "machines.a.require: unknown key, expected one of requires, each "
         "(did you mean 'requires'?)"),
        ("a: {requires: {cpu: 1}}", "machines.a.requires.cpu: unknown key, expected one of labels, cpus, memory, gpus "
         "(did you mean 'cpus'?)"),
        ("a: {requires: {memory: lots}}", "machines.a.requires.memory: found 'lots', expected a size such as 512MiB"),
        ("a: {each: seed}", "machines.a: has no requires, expected a machine or a group of the inventory, or "
         "{requires: {...}}"),
        ("a: [nas]", "machines.a: found a list, expected a machine or a group of the inventory, or {requires: {...}}"),
        ("a:", "machines.a: found nothing, expected a machine or a group of the inventory, or {requires: {...}}"),
        ("a/b: nas", f"machines.a/b: found this name, expected {NAME}"),
    ],
)  # fmt: skip
def test_a_wrong_role_is_one_line(tmp_path: Path, written: str, line: str) -> None:
    found = mistakes(tmp_path, job(head=f"name: x\nmachines:\n  {written}\n"))
    assert found[0].startswith(f"x.yaml:3: {line}")
    assert len(found) == 1


def test_an_inventory_that_is_not_known_is_not_checked(tmp_path: Path) -> None:
    assert mistakes(tmp_path, job("machine: anywhere"), machines=None) == []


def test_a_tasks_machine_is_a_role_or_of_the_inventory(tmp_path: Path) -> None:
    assert mistakes(tmp_path, job("machine: cluster")) == []
    assert mistakes(tmp_path, job("machine: local")) == []
    assert mistakes(tmp_path, job("machine: clutser")) == [
        "x.yaml:6: tasks.t.machine: no role or machine 'clutser', expected one of cluster, gpu-box, local, nas "
        "(did you mean 'cluster'?)"
    ]
    stage = "name: x\ntasks:\n  s:\n    type: stage\n    from:\n      - nas:a\n      - nsa:b\n    to: local:c/\n"
    assert mistakes(tmp_path, stage) == [
        "x.yaml:7: tasks.s.from[1]: no role or machine 'nsa', expected one of cluster, gpu-box, local, nas "
        "(did you mean 'nas'?)"
    ]


def test_a_machine_may_come_from_a_value_and_every_one_is_checked(tmp_path: Path) -> None:
    lines = "machine: ${m}\nforeach: {m: [nas, cluster, nsa]}"
    assert mistakes(tmp_path, job(lines.replace(", nsa", ""))) == []
    (line,) = mistakes(tmp_path, job(lines))
    assert "no role or machine 'nsa'" in line


def test_a_role_that_is_bound_for_each_value_wants_that_key(tmp_path: Path) -> None:
    head = "name: x\nmachines: {m: {requires: {}, each: seed}}\n"
    assert mistakes(tmp_path, job("machine: m\nforeach: {seed: 1..2}", head)) == []
    assert mistakes(tmp_path, job("machine: m\nforeach: {t: 1..2}", head)) == [
        "x.yaml:7: tasks.t.machine: the role 'm' is bound for each 'seed', "
        "expected a foreach with the key 'seed' in each task that uses it"
    ]


def test_the_common_keys_are_read(tmp_path: Path) -> None:
    lines = """resources: {cpus: 4, memory: 512MiB, gpus: 1, nodes: 2, walltime: 10m}
retry: {limit: 3, delay: 1-12:00:00, backoff: 1.5, on: [time]}
timeout: 90
worker: {labels: [site=a]}
may_fail: true
"""
    template = experiment(tmp_path, job(lines)).templates[0]
    made = instance(template, 0, task_type=plugins.task_type)
    assert made.resources == Resources(4, 512 << 20, 1, 2, 600)
    assert made.retry == Retry(3, 129600, 1.5, ("time",))
    assert (made.timeout_s, made.worker_labels, template.may_fail) == (90, ("site=a",), True)


def test_a_retry_says_what_the_attempt_after_each_class_of_failures_asks_for(tmp_path: Path) -> None:
    lines = """foreach: {n: [2, 4]}
resources: {memory: 512MiB, walltime: 10m}
retry: {memory: {resources: {memory: "x${n}"}}, time: {resources: {walltime: 1h, cpus: x2}}}
"""
    made = instance(experiment(tmp_path, job(lines)).templates[0], 1, task_type=plugins.task_type).retry
    assert made is not None
    assert made.raises == {"memory": {"memory_bytes": Times(4)}, "time": {"walltime_s": 3600, "cpus": Times(2)}}
    assert made.limit == 1, "who says what the next attempt asks for wants one"
    quiet = "retry: {infra: {resources: {cpus: 2}}}"
    made = instance(experiment(tmp_path, job(quiet)).templates[0], 0, task_type=plugins.task_type).retry
    assert made is not None
    assert made.limit == 0, "these are tried again without a limit of the file"


def test_the_common_keys_may_depend_on_values(tmp_path: Path) -> None:
    lines = "foreach: {n: [1, 8]}\nresources: {cpus: '${n}', memory: '${n}GiB'}\ntimeout: ${n}h"
    template = experiment(tmp_path, job(lines)).templates[0]
    made = instance(template, 1, task_type=plugins.task_type)
    assert (made.resources.cpus, made.resources.memory_bytes, made.timeout_s) == (8, 8 << 30, 28800)
    found = mistakes(tmp_path, job(lines.replace("8]", "none]")))
    assert found[0] == (
        "x.yaml:7: tasks.t.resources.cpus: found 'none', expected a whole number of at least 1 (in t[none])"
    )
    assert len(found) == 3


SIZE = "a size such as 512MiB, 2GB or a number of bytes"
DURATION = "a duration such as 90s, 10m, 2h, 1d, 1-12:00:00 or a number of seconds"


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("resources: 4", "resources: found '4', expected a mapping with cpus, memory, gpus, nodes, "
         "walltime, counters"),
        ("resources: {cpu: 1}", "resources.cpu: unknown key, expected one of cpus, memory, gpus, nodes, walltime, "
         "counters (did you mean 'cpus'?)"),
        ("resources: {cpus: 0}", "resources.cpus: found '0', expected a whole number of at least 1"),
        ("resources: {cpus: yes}", "resources.cpus: found 'yes', expected a whole number of at least 1"),
        ("resources: {memory: 12x}", f"resources.memory: found '12x', expected {SIZE}"),
        ("resources: {walltime: 0}", f"resources.walltime: found '0', expected more than 0: {DURATION}"),
        ("resources: {counters: [a]}", "resources.counters: found a list, "
         "expected a mapping of counters and amounts such as {matlab: 1}"),
        ("resources: {counters: {matlab: 0}}",
         "resources.counters.matlab: found '0', expected a whole number of at least 1"),
        ("resources: {counters: {'mat lab': 1}}", f"resources.counters.mat lab: found this name, expected {NAME}"),
        ("retry: 3", "retry: found '3', expected a mapping with limit, delay, backoff, on, user, time, memory, "
         "infra, preempted"),
        ("retry: {limit: -1}", "retry.limit: found '-1', expected a whole number of at least 0"),
        ("retry: {backoff: 0}", "retry.backoff: found '0', expected a number from 1 to 1000"),
        ("retry: {on: [usr]}", "retry.on: found 'usr', expected user, time or memory in the list "
         "(did you mean 'user'?)"),
        ("retry: {memory: {resources: {}}}", "retry.memory.resources: is empty, "
         "expected what the next attempt asks for, as {memory: x2}"),
        ("retry: {memory: x2}", "retry.memory: found 'x2', expected a mapping such as {resources: {memory: x2}}"),
        ("retry: {time: {walltime: x2}}", "retry.time.walltime: unknown key, expected resources"),
        ("retry: {time: {resources: {cpus: x1}}}",
         "retry.time.resources.cpus: found 'x1', expected a factor above 1, such as x2 or x1.5"),
        ("retry: {time: {resources: {walltime: long}}}",
         f"retry.time.resources.walltime: found 'long', expected a factor such as x2, or {DURATION}"),
        ("retry: {time: {resources: {walltime: x2}}}", "retry.time.resources.walltime: found a factor, "
         "expected resources.walltime, of which this is a multiple"),
        ("retry: {on: [user], memory: {resources: {memory: 1GiB}}}", "retry.memory: on is user, "
         "expected memory under retry.on too: after such a failure there is no other attempt"),
        ("timeout: soon", f"timeout: found 'soon', expected {DURATION}"),
        ("worker: [a]", "worker: found a list, expected a mapping with labels"),
        ("worker: {label: a}", "worker.label: unknown key, expected one of labels (did you mean 'labels'?)"),
        ("may_fail: yes", "may_fail: found 'yes', expected true or false"),
        ("pack: 10", "pack: found without foreach, expected a task with foreach, "
         "whose instances share jobs of a queue"),
        ("deadline: 2h", f"deadline: a reserved key ({NOT_YET})"),
        ("env: {N: 99999999999999999999}", "env.N: found '99999999999999999999', "
         "expected a number of at most 64 bits, or quotes around it"),
    ],
)  # fmt: skip
def test_a_wrong_common_key_is_one_line(tmp_path: Path, written: str, line: str) -> None:
    assert mistakes(tmp_path, job(written)) == [f"x.yaml:6: tasks.t.{line}"]


@pytest.mark.parametrize(
    ("written", "beginning", "end"),
    [
        ("machin: nas", "machin: unknown key of a job task, expected one of ", "(did you mean 'machine'?)"),
        ("resource: {}", "resource: unknown key of a job task, expected one of ", "(did you mean 'resources'?)"),
        ("env: {A: [1]}", "env.A: found a list", ""),
        ("outputs: {e: {text: a, file: b}}", "outputs.e.text: found 'a', expected true, or no text key", ""),
        ("outputs: {e: {regex: 'a(', file: b}}", "outputs.e.regex: found 'a(', expected a regular expression", ""),
        ("outputs: {e: {json: $.a}}", "outputs.e.file: is missing", ""),
    ],
)
def test_a_wrong_key_of_the_type_has_its_line(tmp_path: Path, written: str, beginning: str, end: str) -> None:
    (line,) = mistakes(tmp_path, job(written))
    assert line.startswith(f"x.yaml:6: tasks.t.{beginning}")
    assert line.endswith(end)


@pytest.mark.parametrize("size", ["0", "1001", "lots", "true"])
def test_a_pack_is_a_whole_number_of_instances(tmp_path: Path, size: str) -> None:
    text = job(f"pack: {size}").replace("\n    type: job", "\n    foreach: {n: 1..3}\n    type: job")
    (line,) = mistakes(tmp_path, text)
    assert "tasks.t.pack: found" in line
    assert line.endswith("expected how many instances may share one job of a queue, 1 to 1000")


def test_an_unknown_type_says_what_is_installed(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, "name: x\ntasks:\n  t:\n    type: stge\n    from: a\n")
    assert line.startswith("x.yaml:4: tasks.t.type: task type 'stge': no such plugin (did you mean 'stage'?")


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = """name: x y
priority: hihg
machines: {m: nsa}
tasks:
  a:
    type: job
    needs: [zzz]
    machine: clutser
    command: [{}, run, [1]]
    timeout: soon
    env: {WLMCTL_A: 1, 2B: x, C: "${nope}"}
  b:
    type: stage
    tow: nas:x/
    from: a
    verify: md5
    symlinks: kepe
  c:
    type: environment
    files:
      one: {from: missing.sh, mode: "999"}
      two: {content: 1}
      three: {from: .}
"""
    found = mistakes(tmp_path, text)
    places = [line.removeprefix("x.yaml:").split(": ")[:2] for line in found]
    assert [int(line) for line, _ in places] == sorted(int(line) for line, _ in places)
    assert {" ".join(place) for place in places} == {
        "1 name", "2 priority", "3 machines.m", "7 tasks.a.needs[0]", "8 tasks.a.machine", "9 tasks.a.command[0]",
        "9 tasks.a.command[2]", "10 tasks.a.timeout", "11 tasks.a.env.WLMCTL_A", "11 tasks.a.env.2B",
        "11 tasks.a.env.C", "13 tasks.b.to", "14 tasks.b.tow", "15 tasks.b.from",
        "21 tasks.c.files.one.mode", "21 tasks.c.files.one.from", "22 tasks.c.files.two.content",
        "23 tasks.c.files.three.from",
    }  # fmt: skip
    assert any("'missing.sh': no such file" in line for line in found)
    assert any("'.': is a folder" in line for line in found)
    assert all("\n" not in line for line in found)


def test_a_file_of_nothing_but_mistakes_ends_after_two_hundred(tmp_path: Path) -> None:
    found = mistakes(tmp_path, job("env:\n" + "".join(f"  X{n}: '${{n{n}}}'\n" for n in range(1000))))
    assert len(found) == 201
    assert found[-1].startswith("x.yaml: has more than 200 mistakes")


def test_files_are_read_at_submit(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\n\xff")
    text = """name: x
params: {f: run}
tasks:
  t: {type: environment, files: {work/run.sh: {from: "${f}.sh", mode: 0755}, again: {from: run.sh}}}
"""
    assert experiment(tmp_path, text).files == {"run.sh": b"#!/bin/sh\n\xff"}


def test_files_that_depend_on_values_are_all_read(tmp_path: Path) -> None:
    for n in range(1, 4):
        (tmp_path / f"in{n}").write_text(str(n))
    text = "name: x\ntasks:\n  t: {type: environment, foreach: {n: 1..3}, files: {in: {from: 'in${n}'}}}\n"
    assert experiment(tmp_path, text).files == {"in1": b"1", "in2": b"2", "in3": b"3"}


def test_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes((1 << 20) + 1))
    text = "name: x\ntasks:\n  t:\n    type: environment\n    files:\n      a: {from: big}\n"
    assert mistakes(tmp_path, text) == [
        "x.yaml:6: tasks.t.files.a.from: 'big': is larger than 1 MiB, expected at most 1 MiB "
        "(bring larger files by a stage task)"
    ]
    for n in range(9):
        (tmp_path / f"f{n}").write_bytes(bytes(1 << 20))
    lines = "".join(f"      f{n}: {{from: f{n}}}\n" for n in range(9))
    (line,) = mistakes(tmp_path, f"name: x\ntasks:\n  t:\n    type: environment\n    files:\n{lines}")
    assert line == (
        "x.yaml:14: tasks.t.files.f8.from: 'f8': all files together are larger than 8 MiB "
        "(bring larger files by a stage task)"
    )


def test_a_wrong_source_makes_no_further_mistake_of_the_target(tmp_path: Path) -> None:
    stage = "name: x\ntasks:\n  s: {type: stage, from: 'nas:../a', to: 'local:b'}\n"
    assert mistakes(tmp_path, stage) == [
        "x.yaml:3: tasks.s.from: found 'nas:../a', expected a path that stays in the experiment's folder"
    ]


def test_every_wrong_reference_of_a_text_is_told(tmp_path: Path) -> None:
    found = mistakes(tmp_path, job("env: {A: '${one} $${x} ${two words} ${three'}"))
    assert [line.partition(": tasks.t.env.A: ")[2].partition(", expected")[0] for line in found] == [
        "${one}", "${two words}",
    ]  # fmt: skip


def test_counters_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = experiment(tmp_path, job("resources: {counters: {matlab: 2, ansys: 1}}"))
    made = instance(found.templates[0], 0, task_type=plugins.task_type)
    assert made.counters == (("ansys", 1), ("matlab", 2))


def test_what_is_taken_of_a_counter_may_be_a_value(tmp_path: Path) -> None:
    found = experiment(tmp_path, job("foreach: {n: [1, 3]}\nresources: {counters: {matlab: '${n}'}}"))
    taken = [instance(found.templates[0], n, task_type=plugins.task_type).counters for n in (0, 1)]
    assert taken == [(("matlab", 1),), (("matlab", 3),)]


@pytest.mark.parametrize(
    ("counters", "line"),
    [
        ({"matlab": 4}, None),
        (None, None),
        ({"mathlab": 4}, "no such counter, expected one of mathlab (did you mean 'mathlab'?)"),
        ({}, "no such counter, expected a counter of the configuration ([counters])"),
        ({"matlab": 1}, "found 2, expected at most 1, which is all that there is ([counters])"),
    ],
)
def test_a_counter_is_one_of_the_configuration(
    tmp_path: Path, counters: dict[str, int] | None, line: str | None
) -> None:
    text = job("resources:\n  counters:\n    matlab: 2")
    expected = [] if line is None else [f"x.yaml:8: tasks.t.resources.counters.matlab: {line}"]
    assert mistakes(tmp_path, text, counters=counters) == expected
