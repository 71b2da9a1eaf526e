"""``wlmctl simulate`` from the shell: traces, the own past, other conditions, and what is said of bad input."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.traces import random_lines, swf_line, write_pods, write_trace

FIGURES = [
    "name", "jobs", "wait_mean_s", "wait_p50_s", "wait_p95_s", "wait_max_s", "slowdown_mean", "utilisation",
    "makespan_s", "user_fairness", "decision_mean_s",
]  # fmt: skip


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    command = CommandLine(tmp_path)
    write_trace(tmp_path, random_lines(1, 150))
    yield command
    command.close()


def figures(line: CommandLine, *args: str) -> dict[str, dict[str, Any]]:
    told = line.json("simulate", *args)
    assert list(told) == ["version", "strategies"]
    return {row["name"]: row for row in told["strategies"]}


def test_every_installed_scheduler_and_both_yardsticks_play_a_trace(line: CommandLine) -> None:
    found = figures(line, "--trace", "small.swf")
    assert {"fifo", "typed-fifo", "easy"} <= set(found)
    for row in found.values():
        assert list(row) == FIGURES
        assert row["jobs"] == 150
        assert row["wait_p50_s"] <= row["wait_p95_s"] <= row["wait_max_s"]
        assert 0 < row["utilisation"] <= 1
        assert 0 < row["user_fairness"] <= 1


def test_two_runs_with_one_seed_say_the_same(line: CommandLine) -> None:
    for output in ("json", "text"):
        args = ("simulate", "--trace", "small.swf", "--seed", "3", "-o", output)
        assert line.run(*args).stdout == line.run(*args).stdout


def test_the_table_has_a_line_for_each_strategy_in_the_order_asked_for(line: CommandLine) -> None:
    done = line.run("simulate", "--trace", "small.swf", "--strategy", "easy", "--strategy", "fifo:ageing_step=1h")
    assert [row.split()[0] for row in done.stdout.splitlines()] == ["STRATEGY", "easy", "fifo:ageing_step=1h"]
    assert "wlmctl: easy: 150 of 150 jobs have ended" in done.stderr


def test_a_gzipped_trace_is_the_same(line: CommandLine) -> None:
    trace = line.folder / "small.swf"
    (line.folder / "packed.swf.gz").write_bytes(gzip.compress(trace.read_bytes()))
    args = ("--strategy", "easy", "--machines", "small.machines")
    assert figures(line, "--trace", "packed.swf.gz", *args) == figures(line, "--trace", "small.swf", *args)


def test_conditions_change_what_comes_of_it(line: CommandLine) -> None:
    def wait_s(*args: str) -> float:
        return float(figures(line, "--trace", "small.swf", "--strategy", "easy", *args)["easy"]["wait_mean_s"])

    as_it_was = wait_s()
    assert as_it_was > 0
    assert wait_s("--compress", "3") > as_it_was
    assert wait_s("--scale-machines", "2") < as_it_was
    assert wait_s("--cap-runtime", "1m") < as_it_was
    assert wait_s("--what-if", "machines.large.nodes=20") < as_it_was
    assert wait_s("--scale-machines", "1/2") > as_it_was


def test_a_queues_priority_lets_its_jobs_go_first(line: CommandLine) -> None:
    lines = [swf_line(1, 0, 50, 16), swf_line(2, 0, 50, 16)]  # both nodes that are large enough
    lines += [swf_line(at, 1, 1000, 16, queue="slow") for at in (3, 4)]
    lines += [swf_line(at, 2, 10, 16, queue="quick") for at in (5, 6)]
    write_trace(line.folder, lines, name="two")
    args = ("--trace", "two.swf", "--strategy", "fifo")
    longest = [
        figures(line, *args, "--queue-priority", f"slow={slow}", "--queue-priority", f"quick={quick}")["fifo"]
        for slow, quick in (("0", "urgent"), ("urgent", "0"))
    ]
    assert [row["wait_max_s"] for row in longest] == [59, 1048]


def test_alibabas_lists_are_played(line: CommandLine) -> None:
    pods = [f"p{at},6000,100,1,1000,{'T4' if at % 2 else ''},LS,Running,{at},{at + 100},{at}" for at in range(8)]
    write_pods(line.folder, pods, ["n0,8000,4096,1,T4", "n1,8000,4096,1,G2"])
    assert figures(line, "--trace", "pods.csv", "--strategy", "typed-fifo")["typed-fifo"]["jobs"] == 8


def test_a_trace_is_played_on_the_inventory(line: CommandLine) -> None:
    line.write("wlmctl.toml", '[machines.large]\nhost = "large.example"\ncpus = 64\nmemory = "256GiB"\n')
    write_trace(line.folder, [swf_line(1, 0, 60, 40, spec="1:ppn=40:cl_large")], name="one")
    found = figures(line, "--trace", "one.swf", "--machines", "inventory", "--strategy", "easy")
    assert found["easy"]["jobs"] == 1


def test_the_own_past_is_played(line: CommandLine) -> None:
    line.write(
        "experiment.yaml",
        "name: past\ntasks:\n  a: {type: job, foreach: {i: 1..3}, command: 'true'}\n"
        "  b: {type: environment, directories: [x]}\n",
    )
    line.run("run", "experiment.yaml")
    assert figures(line, "--history", "--strategy", "easy", "--since", "1d")["easy"]["jobs"] == 3
    done = line.run("simulate", "--history", "--since", "0s", code=2)
    assert done.stderr == "wlmctl: --history: no job of the past in the store, expected one that has run\n"


def test_recorded_decisions_of_a_live_run_are_decided_again_in_the_same_way(line: CommandLine) -> None:
    line.write("wlmctl.toml", 'record_decisions = "decisions.jsonl"\n[machines.local]\ncpus = 2\n')
    line.write("experiment.yaml", "name: live\ntasks:\n  a: {type: job, foreach: {i: 1..5}, command: 'true'}\n")
    line.run("run", "experiment.yaml")
    (told,) = line.json("simulate", "--replay", "decisions.jsonl")["replayed"]
    assert told["name"] == "fifo"
    assert told["decisions"] == told["same"] == len((line.folder / "decisions.jsonl").read_text().splitlines())
    assert told["difference"] is None
    recorded = (line.folder / "decisions.jsonl").read_text()
    line.write("changed.jsonl", recorded.replace('"more":[]', '"more":["m"]', 1) + '{"torn')
    done = line.run("simulate", "--replay", "changed.jsonl", code=1)
    assert "changed.jsonl:" in done.stdout
    assert "was decided, and is not any more" in done.stdout


def test_a_picture_is_drawn_beside_the_table(line: CommandLine) -> None:
    pytest.importorskip("matplotlib")
    args = ("simulate", "--trace", "small.swf", "--strategy", "easy", "--strategy", "fifo")
    assert line.run(*args, "--plot", "waits.svg").stdout == line.run(*args).stdout
    assert "<!-- easy -->" in (line.folder / "waits.svg").read_text()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "simulate: expected one of --trace FILE, --history and --replay FILE"),
        (("--trace", "small.swf", "--history"), "simulate: expected one of --trace FILE, --history and --replay FILE"),
        (("--replay", "none"), "none: No such file or directory"),
        (("--replay", "small.swf"), "expected a decision as record_decisions writes it"),
        (("--replay", "none", "--strategy", "easy"), "--strategy 'easy': no such strategy, expected one of fifo"),
        (("--trace", "small.swf", "--since", "1d"), "--since: it is about the history, expected with --history"),
        (("--trace", "none.swf"), "none.swf: No such file or directory"),
        (("--trace", "bad.swf"), "bad.swf:2: 3 fields, expected 18 fields of the Standard Workload Format, or 21"),
        (("--trace", "small.swf", "--machines", "none"), "none: No such file or directory"),
        (("--trace", "small.swf", "--strategy", "esay"), "--strategy 'esay': no such strategy, expected one of "),
        (("--trace", "small.swf", "--queue-priority", "q_day"), "--queue-priority 'q_day', expected NAME=LEVEL with"),
        (("--trace", "small.swf", "--queue-priority", "day=3"), "--queue-priority day: no such queue in the trace"),
        (("--trace", "small.swf", "--what-if", "cpus=3"), "--what-if 'cpus=3': expected machines.NAME.KEY=VALUE"),
        (("--trace", "small.swf", "--what-if", "machines.nas.cpus=3"), "no machine 'nas' in the simulation (there "),
        (("--trace", "small.swf", "--what-if", "machines.small.nodes=0", "--what-if", "machines.large.nodes=0"),
         "simulate: no job fits on the machines, expected machines that the jobs fit on"),
        (("--trace", "small.swf", "--compress", "0"), "'0', expected a number above 0 such as 1.4 or 1/16"),
        (("--trace", "small.swf", "--cap-runtime", "0s"), "--cap-runtime 0s: no job runs for no time at all"),
        (("--trace", "small.swf", "--scale-machines", "1/0"), "'1/0', expected a number above 0 such as 1.4 or 1/16"),
        (("--trace", "small.swf", "--plot", "p.pdf"), "--plot 'p.pdf': expected a name that ends with .svg or .png"),
        (("--replay", "none", "--plot", "p.svg"), "--plot: it is about what is simulated, expected without --replay"),
        (("--replay", "none", "--compress", "2"), "--compress: it is about what is simulated, expected without"),
        (("--replay", "none", "--seed", "0"), "--seed: it is about what is simulated, expected without --replay"),
        (("--replay", "/dev/null"), "/dev/null: no decision, expected those of a live run, as record_decisions"),
        (("--trace", "small.swf", "--compress", "1e999999999"), "such as 1.4 or 1/16, from 1e-6 to 1e6"),
        (("--trace", "small.swf", "--compress", "1e-300"), "such as 1.4 or 1/16, from 1e-6 to 1e6"),
        (("--trace", "small.swf", "--scale-machines", "1e6"), "--scale-machines: 6,000,000 nodes, expected 1,000,000"),
        (("--trace", "small.swf", "--what-if", f"machines.small.cpus={'9' * 5000}"), "whole number of 1 to 1,000,000"),
        (("--trace", "small.swf", "--queue-priority", f"day={'9' * 5000}"), "expected NAME=LEVEL with a level of 0-9"),
        (("--trace", "small.swf", "--strategy", "easy", "--strategy", "fifo:ageing_step=soon"),
         "scheduler_options.ageing_step: found 'soon', expected a duration such as"),
        (("--trace", "small.swf", "--cap-runtime", "long"), "'long', expected a duration such as"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_ends_with_2(line: CommandLine, args: tuple[str, ...], told: str) -> None:
    (line.folder / "bad.swf").write_text(f"{swf_line(1, 0, 60, 2)}\n1 2 3\n")
    done = line.run("simulate", *args, code=2)
    said = [text for text in done.stderr.splitlines() if not text.endswith("left out")]
    assert done.stdout == ""
    assert len(said) == 1
    assert told in said[0]
