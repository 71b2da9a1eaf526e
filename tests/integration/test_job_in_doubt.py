"""A job whose submit is not answered: the same attempt is tried again, and ends only once it cannot start any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from wlmctl_batch_shell import system

from tests.services.commands_only import CommandsOnly
from tests.services.processes import with_token
from tests.waiting import wait_until
from wlmctl.connections import ConnectionPool
from wlmctl.errors import Broken, Unreachable
from wlmctl.machine import Machine
from wlmctl.message import TaskKey, TaskMessage
from wlmctl.plugins import transport_factory
from wlmctl.task import Resources
from wlmctl.transport import Completed, Transport
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.execution import execute
from wlmctl.worker.machines import Machines
from wlmctl.worker.watch import Watcher

TOKEN = "0123456789abcdef" * 2


class LosesAnswers(CommandsOnly):
    """Runs each command, and then loses its connection, ``left`` times."""

    left = 0

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        done = super().run(command, stdin, timeout_s)
        if LosesAnswers.left:
            LosesAnswers.left -= 1
            raise Broken("the connection was lost")
        return done


def losing(
    tmp_path: Path, answers: int, monkeypatch: pytest.MonkeyPatch, command: str = "echo ran >> witness"
) -> ExecutionContext:
    """A dispatch of a job on a machine that loses so many answers."""
    machine = Machine("far", host="far.invalid", kill_grace_s=1, scratch=str(tmp_path / "scratch"), shell="sh")
    monkeypatch.setattr(LosesAnswers, "left", answers)
    pool = ConnectionPool(
        lambda _: LosesAnswers(transport_factory("local")(Machine("local"), {})), login_of=lambda _: "me@far"
    )
    text = {"machine": "far", "command": command}
    message = TaskMessage(
        TaskKey(1, 1, 1, 1), "n", TOKEN, "exp-abcdef", "it", "job", text, {"far": "far"}, {"far": machine}, "",
        Resources(),
    )  # fmt: skip
    return ExecutionContext(message, Machines(pool))


@pytest.mark.parametrize("answers", [1, 2])
def test_a_submit_whose_answer_is_lost_is_tried_again_as_the_same_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    outcome = execute(losing(tmp_path, answers, monkeypatch), Watcher(lambda *_: None))
    assert outcome.what == "deferred"
    wait_until(lambda: list(tmp_path.rglob("exit")), "the end of the job")
    (witness,) = tmp_path.rglob("witness")
    assert witness.read_text() == "ran\n"


def test_an_attempt_whose_submit_stays_unknown_fails_only_once_it_cannot_start_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "CANCEL_WAIT_S", 30.0)  # what is not proven by then is ended later, as any other job
    context = losing(tmp_path, 3, monkeypatch, "echo ran >> witness; sleep 60")
    outcome = execute(context, Watcher(lambda *_: None))
    assert (outcome.what, outcome.failure_class, outcome.reason) == ("failed", "infra", "the connection was lost")
    assert with_token(TOKEN) == []
    assert execute(replace(context), Watcher(lambda *_: None)).what == "deferred"
    assert with_token(TOKEN) == [], "a late submit of the same attempt starts nothing"


def test_an_attempt_that_cannot_be_asked_for_keeps_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = execute(losing(tmp_path, 100, monkeypatch), Watcher(lambda *_: None))
    assert (outcome.what, outcome.machine) == ("unknown", "far")


def test_a_submit_that_was_not_answered_may_have_started_something_though_the_machine_is_away_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = losing(tmp_path, 1, monkeypatch)
    opened = list[Machine]()

    def open_once(machine: Machine) -> Transport:
        opened.append(machine)
        if len(opened) > 1:
            raise Unreachable("machine far: no route to host")
        return LosesAnswers(transport_factory("local")(Machine("local"), {}))

    context.machines = Machines(ConnectionPool(open_once, login_of=lambda _: "me@far"))
    outcome = execute(context, Watcher(lambda *_: None))
    assert (outcome.what, outcome.machine, outcome.reason) == ("unknown", "far", "the connection was lost")
