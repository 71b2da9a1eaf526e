"""``foreach`` in all its forms, the names of instances, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reading import experiment, job, mistakes
from wlmctl.experiment.model import Template


def template(folder: Path, foreach: str, head: str = "name: x\n") -> Template:
    return experiment(folder, job(f"foreach: {foreach}", head)).templates[0]


def names(of: Template) -> list[str]:
    return [of.instance_name(position) for position in range(len(of.rows))]


def test_a_range_counts_both_ends(tmp_path: Path) -> None:
    assert names(template(tmp_path, "{seed: 1..4}")) == ["t[1]", "t[2]", "t[3]", "t[4]"]
    assert names(template(tmp_path, "{seed: -1..1}")) == ["t[-1]", "t[0]", "t[1]"]


def test_keys_multiply_in_file_order(tmp_path: Path) -> None:
    found = template(tmp_path, "{t: [300, 310], p: 1..2}")
    assert found.keys == ("t", "p")
    assert names(found) == ["t[300,1]", "t[300,2]", "t[310,1]", "t[310,2]"]


def test_rows_give_the_instances_one_by_one(tmp_path: Path) -> None:
    found = template(tmp_path, "[{t: 300, p: 1}, {p: 2, t: 310}]")
    assert (found.keys, list(found.rows)) == (("t", "p"), [("300", "1"), ("310", "2")])


def test_a_csv_file_beside_the_experiment_gives_rows(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text('t,name\n300,a\n\n310,"b ""c"", d"\n', encoding="utf-8-sig")
    found = template(tmp_path, "{csv: cases.csv}")
    assert (found.keys, list(found.rows)) == (("t", "name"), [("300", "a"), ("310", 'b "c", d')])
    assert names(found) == ["t[300,a]", "t[310,@1]"]


def test_a_key_may_be_called_csv(tmp_path: Path) -> None:
    assert names(template(tmp_path, "{csv: 1..2}")) == ["t[1]", "t[2]"]


def test_values_are_the_characters_in_the_file(tmp_path: Path) -> None:
    assert names(template(tmp_path, "{v: [0.10, 010, true, 1e3, null]}")) == [
        "t[0.10]", "t[010]", "t[true]", "t[1e3]", "t[null]",
    ]  # fmt: skip


def test_a_value_that_is_not_plain_is_shown_by_its_position(tmp_path: Path) -> None:
    assert names(template(tmp_path, f"{{v: [a, 'b c', '', {'x' * 41}]}}")) == ["t[a]", "t[@1]", "t[@2]", "t[@3]"]


def test_params_can_be_used_in_ranges_and_values(tmp_path: Path) -> None:
    head = "name: x\nparams: {n: 2}\n"
    assert names(template(tmp_path, "{seed: '1..${n}', v: ['${n}x']}", head)) == ["t[1,2x]", "t[2,2x]"]


@pytest.mark.parametrize(
    ("foreach", "line"),
    [
        ("{v: [1, 2, 1]}", "foreach: '1' twice, expected each instance once"),
        ("[{a: 1, b: 2}, {a: 1, b: 2}]", "foreach: '1,2' twice, expected each instance once"),
        ("{v: []}", "foreach.v: found an empty list, expected at least one value"),
        ("[]", "foreach: found an empty list, expected at least one row, as in [{t: 300, p: 1}]"),
        ("{}", "foreach: found an empty mapping, "
         "expected keys with a range 1..4 or a list, a list of rows, or {csv: FILE}"),
        ("5", "foreach: found '5', expected keys with a range 1..4 or a list, a list of rows, or {csv: FILE}"),
        ("{v: 5}", "foreach.v: found '5', expected a range such as 1..4, or a list of values"),
        ("{v: {a: 1}}", "foreach.v: found a mapping, expected a range such as 1..4, or a list of values"),
        ("{v: [[1]]}", "foreach.v: found a list, expected a single value"),
        ("{v: 4..1}", "foreach.v: found '4..1', expected whole numbers from the lower to the higher, as in 1..4"),
        ("{v: 01..3}", "foreach.v: found '01..3', expected whole numbers from the lower to the higher, as in 1..4"),
        ("{'a b': 1..2}", "foreach: the key 'a b', expected a name: 1-40 letters, digits, _ and -, "
         "the first a letter or digit"),
        ("{p: 1..2}", "foreach.p: is also a param, expected another name for one of the two"),
        ("[{a: 1}, {b: 1}]", "foreach[1]: a row with b, expected a, as in the first row"),
        ("[{a: 1}, 2]", "foreach[1]: found '2', expected a row, as in {t: 300, p: 1}"),
        ("{v: 1..1000001}", "foreach: 1,000,001 instances, expected at most 1,000,000 instances and values in a file"),
        ("{v: 1..999999999999999999}", "foreach: 999,999,999,999,999,999 instances, "
         "expected at most 1,000,000 instances and values in a file"),
        ("{a: 1..1000, b: 1..600}", "foreach: 600,000 instances with 2 values each, "
         "expected at most 1,000,000 instances and values in a file"),
        ("{v: ['${w}']}", "foreach.v: ${w}, expected a param (write $${...} for the shell's own)"),
        ("{v: ['${tasks.s.folder}']}", "foreach.v: ${tasks.s.folder}, expected what is known before run time"),
        ("null", "foreach: found nothing, expected keys with a range 1..4 or a list, a list of rows, or {csv: FILE}"),
    ],
)  # fmt: skip
def test_a_wrong_foreach_is_one_line(tmp_path: Path, foreach: str, line: str) -> None:
    text = job(f"foreach: {foreach}", "name: x\nparams: {p: 1}\n")
    assert mistakes(tmp_path, text) == [f"x.yaml:7: tasks.t.{line}"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "cases.csv: no such file, expected a file that can be read"),
        ("", "cases.csv: no rows, expected a first row with the names of the columns, and at least one row of values"),
        ("a,b\n1\n", "cases.csv:2: 1 cells, expected 2, as in the first row"),
        ("a,a\n1,2\n", "cases.csv:1: the column 'a' twice, expected each column once"),
        ("a b\n1\n", "cases.csv:1: the column 'a b', expected a name: 1-40 letters, digits, _ and -, "
         "the first a letter or digit"),
        ("a\n\0\n", "cases.csv: a NUL character, expected text without it"),
        (b"a\n\xff\n", "cases.csv:2: the byte 0xff, expected UTF-8 text"),
        ('a\n"1" 2\n', "cases.csv:2: is no CSV: ',' expected after '\"'"),
    ],
)  # fmt: skip
def test_a_wrong_csv_file_is_one_line_that_names_it(tmp_path: Path, content: str | bytes | None, found: str) -> None:
    if content is not None:
        (tmp_path / "cases.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert mistakes(tmp_path, job("foreach: {csv: cases.csv}")) == [f"x.yaml:6: tasks.t.foreach.csv: {found}"]


def test_a_wrong_foreach_makes_no_further_mistakes_of_its_keys(tmp_path: Path) -> None:
    lines = "foreach: {seed: 4..1}\nenv: {X: '${seed}'}\nresources: {cpus: '${seed}'}\n"
    assert len(mistakes(tmp_path, job(lines))) == 1


def test_all_tasks_together_have_at_most_a_million_instances(tmp_path: Path) -> None:
    text = "name: x\ntasks:\n" + "".join(
        f"  t{n}: {{type: job, command: run, foreach: {{seed: 1..600000}}}}\n" for n in range(2)
    )
    (line,) = mistakes(tmp_path, text)
    assert line.startswith("x.yaml:4: tasks.t1.foreach: 600,000 instances, expected at most 1,000,000")
