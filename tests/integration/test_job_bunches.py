"""Jobs that a worker submits together to a real Slurm: by one command, and each with its own fate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.commands_only import CommandsOnly
from tests.services.slurm import Slurm
from tests.services.sshd import Farm
from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool
from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.message import Outcome, TaskKey, TaskMessage
from wlmctl.orchestrator.contexts import token
from wlmctl.plugins import transport_factory
from wlmctl.task import Resources
from wlmctl.transport import Completed
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.execution import execute_many
from wlmctl.worker.machines import Machines
from wlmctl.worker.watch import Watcher


class Counting(CommandsOnly):
    """Counts the commands, and loses the connection after the first ``losing`` of them."""

    commands = losing = 0
    #: Called before each command.
    before: Callable[[], object] = staticmethod(lambda: None)

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        Counting.before()
        done = super().run(command, stdin, timeout_s)
        Counting.commands += 1
        if Counting.losing:
            Counting.losing -= 1
            raise Broken("the connection was lost")
        return done


@pytest.fixture
def site(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The scratch folder of a machine that is the login node of the Slurm."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Counting, "commands", 0)
    monkeypatch.setattr(Counting, "losing", 0)
    monkeypatch.setattr(Counting, "before", staticmethod(lambda: None))
    yield tmp_path / "scratch"
    slurm.run("scancel", "-u", "root")


def together(site: Path, texts: Sequence[dict[str, Any]]) -> list[ExecutionContext]:
    """Dispatches of jobs that are to be executed together."""
    machine = Machine("far", host="far.invalid", kill_grace_s=1, scratch=str(site), shell="sh", batch="slurm")
    pool = ConnectionPool(
        lambda _: Counting(transport_factory("local")(Machine("local"), {})), login_of=lambda _: "me@far"
    )
    contexts = []
    for number, text in enumerate(texts):
        name = f"it[{number}]"
        message = TaskMessage(
            TaskKey(1, number, 1, 1), "n", token("store", str(site), name, 1), "exp-abcdef", name, "job",
            {"machine": "far", **text}, {"far": "far"}, {"far": machine}, "", Resources(),
        )  # fmt: skip
        contexts.append(ExecutionContext(message, Machines(pool)))
    for context in contexts[1:]:
        context.join(contexts[0])
    return contexts


def executed(contexts: Sequence[ExecutionContext]) -> list[Outcome]:
    return execute_many(contexts, Watcher(lambda *_: None))


def leaves_a_line(number: int) -> dict[str, Any]:
    return {"command": f"echo {number} >> witness"}


def witnessed(site: Path, count: int) -> list[str]:
    """The lines of all jobs, once so many have ended."""
    wait_until(lambda: len(list(site.rglob("exit"))) == count, f"the ends of {count} jobs", 120)
    (witness,) = site.rglob("witness")
    return sorted(witness.read_text().split(), key=int)


def test_many_jobs_are_submitted_by_one_command_and_each_runs(site: Path) -> None:
    outcomes = executed(together(site, [leaves_a_line(number) for number in range(12)]))
    assert [outcome.what for outcome in outcomes] == ["deferred"] * 12
    assert Counting.commands == 1
    assert witnessed(site, 12) == [str(number) for number in range(12)]


@pytest.mark.parametrize("losing", [1, 2])
def test_jobs_whose_common_submit_is_not_answered_each_run_once(site: Path, losing: int) -> None:
    Counting.losing = losing
    outcomes = executed(together(site, [leaves_a_line(number) for number in range(6)]))
    assert [outcome.what for outcome in outcomes] == ["deferred"] * 6
    assert witnessed(site, 6) == [str(number) for number in range(6)]


def test_jobs_whose_common_submit_stays_unknown_each_end_or_are_seen_to_have_run(site: Path, slurm: Slurm) -> None:
    Counting.losing = 3
    outcomes = executed(together(site, [{"command": f"echo {number} >> witness; sleep 60"} for number in range(4)]))
    assert {(outcome.what, outcome.failure_class, outcome.reason) for outcome in outcomes} == {
        ("failed", "infra", "the connection was lost")
    }
    wait_until(lambda: all(row[1] in ("CANCELLED", "COMPLETED") for row in slurm.queue()), "an empty queue")
    again = executed(together(site, [leaves_a_line(9) for _ in range(4)]))
    assert [outcome.what for outcome in again] == ["deferred"] * 4
    assert not any("9" in path.read_text().split() for path in site.rglob("witness")), "their attempts are over"


def test_a_machine_that_cannot_be_asked_about_one_is_not_asked_about_the_others(site: Path) -> None:
    Counting.losing = 100
    outcomes = executed(together(site, [leaves_a_line(number) for number in range(8)]))
    assert {(outcome.what, outcome.machine) for outcome in outcomes} == {("unknown", "far")}
    assert Counting.commands == 4, "three submits, and one that asks whether the first has started"


def test_a_job_that_is_refused_keeps_none_of_the_others_from_running(site: Path) -> None:
    texts = [leaves_a_line(number) for number in range(6)]
    texts[1]["batch"] = {"slurm": {"partition": "nowhere"}}
    texts[2]["directory"] = "../../elsewhere"
    texts[3]["batch"] = {"slurm": {"extra": ["--requeue"]}}
    del texts[4]["command"]
    outcomes = executed(together(site, texts))
    assert [outcome.what for outcome in outcomes] == ["deferred", *["failed"] * 4, "deferred"]
    reasons = ("nowhere", "leaves the experiment's folder", "would run twice", "is missing")
    for outcome, reason in zip(outcomes[1:5], reasons, strict=True):
        assert reason in outcome.reason
    assert witnessed(site, 2) == ["0", "5"]


def test_one_that_is_stopped_before_the_submit_does_not_run_and_the_others_do(site: Path) -> None:
    contexts = together(site, [leaves_a_line(number) for number in range(5)])
    contexts[0].stopped.set()  # the one by whose means the connection would be had
    contexts[3].stopped.set()
    outcomes = executed(contexts)
    assert [outcome.what for outcome in outcomes] == ["cancelled", "deferred", "deferred", "cancelled", "deferred"]
    assert witnessed(site, 3) == ["1", "2", "4"]


def test_one_that_is_stopped_while_the_submit_runs_is_told_as_what_it_is(site: Path) -> None:
    contexts = together(site, [leaves_a_line(number) for number in range(5)])
    Counting.before = staticmethod(contexts[2].stopped.set)
    Counting.losing = 1
    outcomes = executed(contexts)
    assert outcomes[2].what == "unknown", "it may have started: it is dispatched again, to be ended"
    assert [outcome.what for outcome in outcomes if outcome is not outcomes[2]] == ["deferred"] * 4


@pytest.fixture
def cli(cluster: Farm, slurm: Slurm, tmp_path: Path) -> Iterator[CommandLine]:
    """A folder whose inventory has the cluster; its sshd writes down each command."""
    if "counted" not in cluster.machines:
        slurm.greet(cluster.add("counted", options=["LogLevel VERBOSE"]))
    inventory = cluster.write_inventory(tmp_path / "site", extra={"counted": 'batch = "slurm"\n'})
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def test_a_run_of_many_jobs_takes_few_logins_and_commands(cli: CommandLine, cluster: Farm) -> None:
    text = "name: many\ntasks: {it: {type: job, machine: counted, foreach: {n: 1..60}, command: 'true'}}\n"
    before, began_s = cluster["counted"].log_text, time.monotonic()
    cli.run("run", cli.write("many.yaml", text))
    assert {task["state"] for task in cli.tasks("many").values()} == {"succeeded"}
    log = cluster["counted"].log_text.removeprefix(before)
    took_s = time.monotonic() - began_s
    assert log.count("Starting session: command") <= max(20, took_s + 10), "a look at all each second, and few more"
    assert log.count("Accepted publickey") <= 4


@pytest.mark.long
def test_one_of_many_can_be_cancelled_by_a_limit_while_the_others_run(cli: CommandLine, slurm: Slurm) -> None:
    job = "{type: job, machine: counted, foreach: {n: [0, 60, 1]}, timeout: 3s, command: 'sleep ${n}', may_fail: true}"
    cli.run("run", cli.write("one.yaml", f"name: one\ntasks: {{it: {job}}}\n"))
    states = {name: task["state"] for name, task in cli.tasks("one").items()}
    assert states == {"it[0]": "succeeded", "it[60]": "failed", "it[1]": "succeeded"}
    assert all(row[1] in ("COMPLETED", "CANCELLED", "FAILED") for row in slurm.queue())
