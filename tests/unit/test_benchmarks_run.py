"""Each benchmark runs, with tiny sizes: what it measures and promises is no matter of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Report, Spread, ratio
from tests.services import rabbitmq_node
from tests.services.slurm import require_slurm
from tests.services.sshd import require_sshd

PROJECT = Path(__file__).parent.parent.parent


def quickly(name: str, *arguments: str, timeout_s: float = 100) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_the_start_of_each_command_is_compared_with_click() -> None:
    said = quickly("startup")
    for command in ("import click", "wlmctl --help", "wlmctl status -o json", "wlmctl submit"):
        assert f"| {command} |" in said
    assert "not judged: --quick" in said


def test_jobs_are_run() -> None:
    assert "| wlmctl run |" in quickly("jobs")


def test_one_experiment_is_submitted_shown_and_run_at_every_size() -> None:
    said = quickly("scale")
    assert "| submit |" in said
    assert "tasks of type `noop`" in said
    assert "tasks of type `job`" not in said


def test_match_making_is_measured_beside_greedy() -> None:
    said = quickly("matching")
    assert "| seed | slots | placed | prototype |" in said
    assert "more than the prototype's greedy" in said
    for part in ("the same assignments", "of the LP bound", "together", "on a preferred host at most"):
        assert f"| {part} |" in said or "left out: " in said


@pytest.mark.long
def test_a_file_is_staged_up_and_down_beside_openssh() -> None:
    require_sshd()
    said = quickly("staging", "--only", "large")
    for direction in ("up", "down"):
        for way in ("sftp", "scp", "wlmctl, sftp", "wlmctl, scp"):
            assert f"| {direction} | {way} |" in said


@pytest.mark.long
@pytest.mark.timeout(300)
def test_all_of_staging_is_measured() -> None:
    require_sshd()
    said = quickly("staging", timeout_s=280)
    for row in ("rsync", "scp -r", "wlmctl, sftp-scp", "sftp, sha256", "the far tool alone"):
        assert f"| {row} |" in said
    for promise in ("memory of a relay, scp-scp", "memory of a tree, up, sftp", "short commands over one connection"):
        assert f"- {promise}" in said


def test_strategies_are_simulated() -> None:
    said = quickly("simulation")
    for name in ("typed-fifo", "easy", "matchmaking", "matchmaking:reserve_after=0"):
        assert f"| {name} |" in said


def test_a_trace_that_is_not_there_says_what_to_set() -> None:
    command = [sys.executable, "-m", "benchmarks.simulation"]
    env = {name: value for name, value in os.environ.items() if name != "WLMCTL_TRACES"}
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out: metacentrum-wagap-2013.swf.gz; give --traces FOLDER, or WLMCTL_TRACES" in done.stdout


needs_rabbitmq = pytest.mark.skipif(not rabbitmq_node.is_available(), reason="RabbitMQ is not installed")


@pytest.mark.long
@needs_rabbitmq
def test_a_fleet_is_measured() -> None:
    said = quickly("fleet", "--only", "chain")
    assert "| sqlite |" in said


@needs_rabbitmq
@pytest.mark.long
@pytest.mark.timeout(300)
def test_all_of_a_fleet_is_measured() -> None:
    said = quickly("fleet", timeout_s=280)
    for row in ("classic, SQLite", "quorum, SQLite", "SQLite", "orchestrator, at most", "of a core"):
        assert f"| {row} |" in said


@needs_rabbitmq
@pytest.mark.long
def test_jobs_in_the_queues_of_idle_clusters_are_measured() -> None:
    said = quickly("clusters_idle")
    assert "| both workers |" in said
    assert "- the orchestrator of 50 deferred jobs" in said


def test_a_missed_promise_ends_with_1_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(is_quick=False)
    report.promise("a start", 1.5, 1.6)
    assert report.end() == 0
    report.promise("a pace", 0.9, 1.0, at_least=True)
    assert report.end() == 1
    assert "a pace" in capsys.readouterr().err


def test_ratios_are_those_of_neighbours() -> None:
    # the second run met a busy machine, which slowed both alike
    assert ratio(Spread([2.0, 20.0]), Spread([1.0, 10.0])).values == [2.0, 2.0]


@pytest.mark.long
def test_jobs_on_a_slurm_are_run_beside_a_loop_of_sbatch() -> None:
    require_slurm()
    require_sshd()
    said = quickly("clusters")
    for way in ("srun true", "sbatch, in a loop", "wlmctl run"):
        assert f"| {way}" in said
    assert "remote commands" in said
