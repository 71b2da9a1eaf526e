"""``needs`` in all its forms, cycles, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reading import experiment, mistakes
from wlmctl.experiment.model import Need

FILE = """name: x
tasks:
  a: {type: job, command: run, foreach: {t: [300, 310], p: 1..2}}
  c: {type: job, command: run}
  b:
    type: job
    foreach: {t: [300, 310], p: 1..2}
    command: run
    needs: NEEDS
"""


@pytest.mark.parametrize(
    ("written", "needs"),
    [
        ("[]", []),
        ("[a]", [Need("a")]),
        ("[{a: ended}, c]", [Need("a", "ended"), Need("c")]),
        ("[{a: succeeded}]", [Need("a")]),
        ('["a[${t},${p}]"]', [Need("a", which="same")]),
        ('[{"a[${t},${p}]": ended}]', [Need("a", "ended", "same")]),
        ('["a[310,1]", "a[300,2]"]', [Need("a", which=2), Need("a", which=1)]),
    ],
)
def test_needs_in_every_form(tmp_path: Path, written: str, needs: list[Need]) -> None:
    assert list(experiment(tmp_path, FILE.replace("NEEDS", written)).templates[2].needs) == needs


FORMS = (
    "a task, {TASK: ended}, or with quotes \"TASK[${KEY}]\" for the partner and \"TASK[1]\" for one instance"
)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("a", "needs: found 'a', expected a list such as [setup]"),
        ("null", "needs: found nothing, expected a list such as [setup] (leave the key out)"),
        ("[aa]", "needs[0]: no task 'aa' in this file, expected a task of this file (did you mean 'a'?)"),
        ("[{a: endde}]", "needs[0]: found 'endde', expected succeeded or ended (did you mean 'ended'?)"),
        ("[{a: ended, c: ended}]", f"needs[0]: found a mapping, expected {FORMS}"),
        ("['a b']", f"needs[0]: found 'a b', expected {FORMS}"),
        ("[a, {a: ended}]", "needs[1]: the task 'a' again, expected each task once"),
        ('["c[1]"]', "needs[0]: c[1], expected c alone, since that task has no foreach"),
        ('["a[1]"]', "needs[0]: no instance 'a[1]', expected one of a[300,1] to a[310,2]"),
        ('["a[${t}]"]', "needs[0]: a[${t}], expected a[${t},${p}]"),
    ],
)
def test_a_wrong_need_is_one_line(tmp_path: Path, written: str, line: str) -> None:
    assert mistakes(tmp_path, FILE.replace("NEEDS", written)) == [f"x.yaml:9: tasks.b.{line}"]


def test_a_partner_needs_the_same_foreach(tmp_path: Path) -> None:
    text = FILE.replace("foreach: {t: [300, 310], p: 1..2}\n    command", "foreach: {t: [300], p: 1..2}\n    command")
    assert mistakes(tmp_path, text.replace("NEEDS", '["a[${t},${p}]"]')) == [
        "x.yaml:9: tasks.b.needs[0]: a[${t},${p}], expected the same foreach in b and a (write a for all its instances)"
    ]


def test_a_cycle_is_printed(tmp_path: Path) -> None:
    text = "name: x\ntasks:\n" + "".join(
        f"  {name}:\n    type: job\n    command: run\n    needs: [{needed}]\n"
        for name, needed in [("a", "b"), ("b", "c"), ("c", "a")]
    )
    assert mistakes(tmp_path, text) == [
        "x.yaml:6: tasks.a.needs: a cycle: a needs b needs c needs a, expected needs without a cycle"
    ]


def test_a_task_that_needs_itself_is_a_cycle(tmp_path: Path) -> None:
    text = "name: x\ntasks:\n  a: {type: job, command: run, needs: [a]}\n"
    assert mistakes(tmp_path, text) == [
        "x.yaml:3: tasks.a.needs: a cycle: a needs a, expected needs without a cycle"
    ]  # fmt: skip
