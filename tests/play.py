"""Task types, machines and answers of workers that tests of the orchestrator play with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wlmctl.errors import SpecError
from wlmctl.machine import Machine
from wlmctl.message import Outcome, WorkerInfo
from wlmctl.store.database import Question
from wlmctl.store.sqlite import SqliteDatabase
from wlmctl.task import Deferred, Done, PollAnswer, TaskType
from wlmctl.task_context import TaskContext

NOW_S = 1_700_000_000.0

DONE = Outcome("done")
FAILED = Outcome("failed", reason="exit code 1", failure_class="user", exit_code=1)
BROKEN = Outcome("failed", reason="the connection broke", failure_class="infra")
STOPPED = Outcome("cancelled", reason="cancelled")
RUNNING = Outcome("running")
DEFERRED = Outcome("deferred", handle={"job": 1})


def away(machine: str) -> Outcome:
    """What a worker says when it cannot reach the machine."""
    return Outcome("unreachable", reason="no route to host", machine=machine)


@dataclass(frozen=True, slots=True)
class PlaySpec:
    """The own keys of both task types of the play."""

    machine: str = "local"
    also: str = ""
    text: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)


class Step:
    """A task type whose work a worker does itself; the play says what comes of it."""

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> PlaySpec:
        for key in mapping:
            if key not in ("machine", "also", "text", "outputs"):
                raise SpecError(key, "an unknown key", "machine, also, text or outputs")
        return PlaySpec(**mapping)

    def machines(self, spec: PlaySpec) -> Sequence[str]:
        return [name for name in (spec.machine, spec.also) if name]

    def execute(self, spec: PlaySpec, context: TaskContext) -> Done | Deferred:
        raise AssertionError("the play answers for the worker")


class Play(Step):
    """A task type whose work goes on without a worker, and takes room of its machine."""

    def poll(self, handles: Mapping[str, Any], context: Any) -> Mapping[str, PollAnswer]:
        raise AssertionError("the play answers for the worker")

    def cancel(self, handle: Mapping[str, Any], context: Any) -> PollAnswer:
        raise AssertionError("the play answers for the worker")


class Carry(Step):
    """A step that moves data."""

    moves_data = True


_TYPES: Mapping[str, TaskType] = {"step": Step(), "play": Play(), "carry": Carry()}


@dataclass(slots=True)
class Clock:
    """Stands in for the module ``time`` in the orchestrator's loop; both of its clocks go together."""

    now_s: float = 1000.0

    def time(self) -> float:
        return NOW_S + self.now_s

    def monotonic(self) -> float:
        return self.now_s


def task_type(name: str) -> TaskType:
    """The task types of the play, in place of the plugins'."""
    return _TYPES[name]


def play_types(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Put the play's task types and clock in place of the real ones; a scheduler may take what a busy host takes."""
    monkeypatch.setattr("wlmctl.plugins.task_type", task_type)
    monkeypatch.setattr("wlmctl.orchestrator.loop.time", clock)
    monkeypatch.setattr("wlmctl.orchestrator.watched.LIMIT_S", 120.0)


def machine(name: str, **settings: Any) -> Machine:
    """A machine of the inventory whose capacity is known, so that nobody asks it."""
    return Machine(
        name, **{"host": None if name == "local" else name, "cpus": 4, "memory_bytes": 0, "gpus": 0, **settings}
    )


def worker_info(name: str, **settings: Any) -> WorkerInfo:
    """What a worker of the play says of itself."""
    return WorkerInfo(**{
        "name": name, "host": "here", "host_name": "here", "user": "me", "boot": "b", "pid": 1, "start_time": "1",
        "slots": 4, "types": ("step", "play"), **settings,
    })  # fmt: skip


def inventory(*machines: Machine) -> dict[str, Machine]:
    """These machines by name, with ``local`` first."""
    return {each.name: each for each in ([] if any(m.name == "local" for m in machines) else [machine("local")])} | {
        each.name: each for each in machines
    }


class InterruptibleDatabase(SqliteDatabase):
    """A store's connection that lets somebody else write at the worst moment: before it gets its lock."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(url, create=create)
        self.execute("PRAGMA synchronous = OFF")  # no test here cuts the power
        self.interruption: Callable[[], object] | None = None

    @contextmanager
    def transaction(self, ahead: Sequence[Question] = ()) -> Iterator[None]:
        """As ever, after the interruption."""
        interruption, self.interruption = self.interruption, None
        if interruption is not None:
            interruption()
        with super().transaction(ahead):
            yield
