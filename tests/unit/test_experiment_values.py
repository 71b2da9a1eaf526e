"""``${...}``: what is put in, once, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading import experiment, job, mistakes
from wlmctl import plugins
from wlmctl.errors import SpecError
from wlmctl.experiment import Instances, check_command_value
from wlmctl.experiment.values import Scope, encode

NAMES = "expected a param, a foreach key, tasks.NAME.folder or tasks.NAME.outputs.KEY"
SHELL_HINT = "write $${...} for the shell's own"


def text_of(folder: Path, value: str, params: dict[str, str], position: int = 0, foreach: str = "") -> str:
    """What the environment variable X of the job is, when it is written as ``value``."""
    declared = "".join(f"  {name}: null\n" for name in params)
    head = "name: x\n" + (f"params:\n{declared}" if declared else "")
    lines = f"env:\n  X: '{value}'\n" + (f"foreach: {foreach}\n" if foreach else "")
    template = experiment(folder, job(lines, head), params=params).templates[0]
    found: str = Instances(template, plugins.task_type).at(position).text["env"]["X"]
    return found


def test_params_and_foreach_keys_are_put_in(tmp_path: Path) -> None:
    assert text_of(tmp_path, "a ${p}-${seed} b", {"p": "P"}, 1, "{seed: [7, 8]}") == "a P-8 b"


@pytest.mark.parametrize("text", ["$HOME", "$1", "$(date)", "$", "$$", "a$", "{p}", "$p"])
def test_the_shells_other_dollars_are_left_alone(tmp_path: Path, text: str) -> None:
    assert text_of(tmp_path, text, {"p": "P"}) == text


def test_two_dollars_before_a_brace_are_one(tmp_path: Path) -> None:
    assert text_of(tmp_path, "$${HOME} $${p} ${p}", {"p": "P"}) == "${HOME} ${p} P"


def test_a_value_is_never_read_again(tmp_path: Path) -> None:
    assert text_of(tmp_path, "${p} $${p}", {"p": "${seed} $${x} ${p}"}, 0, "{seed: 1..2}") == "${seed} $${x} ${p} ${p}"
    assert text_of(tmp_path, "${p}{seed}", {"p": "$"}, 0, "{seed: 1..2}") == "${seed}"


@given(st.lists(st.sampled_from(["${a}", "${b}", "$${", "}", "$", "{", "a", "${k}"]), max_size=8), st.data())
def test_nothing_that_came_from_a_value_is_put_in_again(pieces: list[str], data: st.DataObject) -> None:
    value = st.text(alphabet="${}abk", max_size=8)
    params = {"a": data.draw(value), "b": data.draw(value)}
    row = data.draw(value)
    # Pieces that join into something else are not what this is about.
    text = " ".join(piece for piece in pieces if piece not in ("$", "{"))
    expected = " ".join(
        {"${a}": params["a"], "${b}": params["b"], "${k}": row, "$${": "${"}.get(piece, piece)
        for piece in pieces
        if piece not in ("$", "{")
    )
    encoded = encode(text, Scope(params, ("k",)))
    assert encoded.text.replace("\ue000k\ue001", row) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("${HOME}", f"${{HOME}}, {NAMES} ({SHELL_HINT})"),
        ("${x:-1}", f"${{x:-1}}, {NAMES} ({SHELL_HINT})"),
        ("${titel}", f"${{titel}}, {NAMES} (did you mean 'title'? or {SHELL_HINT})"),
        ("a ${b", f"'${{b' without its end, expected ${{NAME}} ({SHELL_HINT})"),
    ],
)  # fmt: skip
def test_any_other_brace_says_how_to_write_the_shells_own(tmp_path: Path, text: str, line: str) -> None:
    found = mistakes(tmp_path, job(f"env: {{X: '{text}'}}", "name: x\nparams: {title: a}\n"))
    assert found == [f"x.yaml:7: tasks.t.env.X: {line}"]


def test_values_are_put_into_keys_and_contents_too(tmp_path: Path) -> None:
    text = """name: x
params: {who: "you & me"}
tasks:
  t:
    type: environment
    foreach: {n: 1..2}
    files: {"${n}/note": {content: "for ${who}\\n"}}
"""
    template = experiment(tmp_path, text).templates[0]
    assert Instances(template, plugins.task_type).at(1).text["files"] == {"2/note": {"content": "for you & me\n"}}


@pytest.mark.parametrize("value", ["a b", "x;y", "$(id)", "ä", "a\nb", "'", "~", "*"])
def test_a_command_text_refuses_values_that_a_shell_would_read(tmp_path: Path, value: str) -> None:
    text = job(head="name: x\nparams: {p: null}\n").replace("command: run", "command: run ${p}")
    (line,) = mistakes(tmp_path, text, params={"p": value})
    assert line.startswith("x.yaml:6: tasks.t.command: ${p} is ")
    assert line.endswith(
        "expected only A-Za-z0-9_./:=+,@%- in a value inside a command text "
        "(write the command as a list, or hand the value over in env)"
    )
    as_list = text.replace("run ${p}", '["run", "${p}"]')
    assert mistakes(tmp_path, as_list, params={"p": value}) == []


def test_foreach_values_in_a_command_text_are_checked_too(tmp_path: Path) -> None:
    text = job("foreach: {v: [a, 'b c', 'd e']}").replace("command: run", "command: run ${v}")
    (line,) = mistakes(tmp_path, text)
    assert line.startswith("x.yaml:5: tasks.t.command: ${v} is 'b c', expected only A-Za-z0-9_./:=+,@%-")


def test_commands_of_an_environment_are_command_texts(tmp_path: Path) -> None:
    text = "name: x\nparams: {p: 'a; b'}\ntasks:\n  t:\n    type: environment\n    commands:\n      - echo ${p}\n"
    (line,) = mistakes(tmp_path, text)
    assert line.startswith("x.yaml:7: tasks.t.commands[0]: ${p} is 'a; b', expected only")


def test_check_command_value_names_the_value() -> None:
    check_command_value("a-b_c/1.0:x=+,@%")
    with pytest.raises(SpecError, match=r"\$\{tasks\.a\.folder\} is 'a b'"):
        check_command_value("a b", "tasks.a.folder")


PAIR = """name: x
tasks:
  setup: {type: environment, commands: [make]}
  sim:
    type: job
    needs: [setup]
    foreach: {seed: 1..3}
    command: run
    outputs: {energy: {file: "e${seed}"}}
  post:
    type: job
    needs: ["sim[${seed}]"]
    foreach: {seed: 1..3}
    command: echo ${tasks.sim[${seed}].outputs.energy} ${tasks.setup.folder}
"""


def test_run_time_values_stand_as_placeholders_until_they_are_known(tmp_path: Path) -> None:
    post = experiment(tmp_path, PAIR).templates[2]
    instances = Instances(post, plugins.task_type)
    assert instances.runtime_names(1) == ("tasks.setup.folder", "tasks.sim[2].outputs.energy")
    partly = instances.at(1, {"tasks.setup.folder": "/scratch/env"}).text["command"]
    assert partly == "echo \ue000tasks.sim[2].outputs.energy\ue001 /scratch/env"
    known = {"tasks.setup.folder": "/scratch/env", "tasks.sim[2].outputs.energy": "-1.5"}
    assert instances.at(1, known).text["command"] == "echo -1.5 /scratch/env"


def test_a_run_time_value_that_a_shell_would_read_is_refused_in_a_command_text(tmp_path: Path) -> None:
    instances = Instances(experiment(tmp_path, PAIR).templates[2], plugins.task_type)
    with pytest.raises(SpecError, match=r"tasks\.sim\[1\]\.outputs\.energy\} is '1; rm -rf ~'"):
        instances.at(0, {"tasks.sim[1].outputs.energy": "1; rm -rf ~"})


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tasks.setup.folder", "tasks.setpu.folder",
         "14: tasks.post.command: ${tasks.setpu.folder}, expected a task of this file (did you mean 'setup'?)"),
        ("tasks.setup.folder", "tasks.sim[1].folder",
         "14: tasks.post.command: ${tasks.sim[1].folder}, expected the folder of an environment; sim is a job"),
        ("outputs.energy}", "outputs.enrgy}",
         "14: tasks.post.command: ${tasks.sim[${seed}].outputs.enrgy}, expected one of its outputs: energy "
         "(did you mean 'energy'?)"),
        ("tasks.sim[${seed}].outputs", "tasks.sim.outputs",
         "14: tasks.post.command: ${tasks.sim.outputs.energy}, expected ${tasks.sim[${seed}].outputs.energy} under "
         "the same foreach (sim has 3 instances)"),
        ("tasks.sim[${seed}].outputs", "tasks.sim[4].outputs",
         "14: tasks.post.command: ${tasks.sim[4].outputs.energy}, expected an instance of sim ('4' is none)"),
        ("tasks.sim[${seed}].outputs", "tasks.sim[${x}].outputs",
         "14: tasks.post.command: [${x}] in ${tasks.sim[${x}].outputs.energy}, expected [${seed}], this task's own "
         "foreach keys in their order"),
        ('needs: ["sim[${seed}]"]', "needs: [setup]",
         "14: tasks.post.command: ${tasks.sim[${seed}].outputs.energy}, expected a task that post needs, directly or "
         "through others (add sim to needs)"),
        ("foreach: {seed: 1..3}\n    command: echo", "foreach: {seed: 1..2}\n    command: echo",
         "14: tasks.post.command: ${tasks.sim[${seed}].outputs.energy}, expected the same foreach in post and sim"),
    ],
)  # fmt: skip
def test_a_run_time_value_must_be_one_that_is_there_before(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in PAIR
    assert f"x.yaml:{line}" in mistakes(tmp_path, PAIR.replace(old, new))


def test_one_instance_of_another_task_can_be_named_by_its_value(tmp_path: Path) -> None:
    text = PAIR.replace("tasks.sim[${seed}].outputs", "tasks.sim[2].outputs").replace('"sim[${seed}]"', '"sim[2]"')
    instances = Instances(experiment(tmp_path, text).templates[2], plugins.task_type)
    assert "tasks.sim[2].outputs.energy" in instances.runtime_names(0)


def test_params_must_be_given_known_and_single(tmp_path: Path) -> None:
    head = "name: x\nparams:\n  a: null\n  b: [1]\n  c: ~\n"
    assert mistakes(tmp_path, job(head=head), params={"c": "1", "d": "2"}) == [
        "x.yaml: --param d: no such param in this file, expected one of a, b, c",
        "x.yaml:3: params.a: has no value, expected one from the command line (give --param a=VALUE)",
        "x.yaml:4: params.b: found a list, expected a single value",
    ]


@pytest.mark.parametrize("written", ["0.10", "010", "true", "1e3", "0x10", "'null'", "'a b'", "2027-01-10"])
def test_params_are_put_in_as_the_characters_in_the_file(tmp_path: Path, written: str) -> None:
    text = job("env: {X: '${p}'}", f"name: x\nparams: {{p: {written}}}\n")
    assert experiment(tmp_path, text).templates[0].text["env"]["X"] == written.strip("'")


@pytest.mark.parametrize("value", ["a\0b", "\ue000", "\udcff"])
def test_a_given_param_holds_no_reserved_character(tmp_path: Path, value: str) -> None:
    (line,) = mistakes(tmp_path, job(head="name: x\nparams: {p: null}\n"), params={"p": value})
    assert line.startswith("x.yaml: --param p: holds ")
