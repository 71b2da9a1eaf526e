"""A worker keeps its slots whatever a plugin does, stops what it is told to, and buries what it cannot read."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.play import Step, machine
from tests.waiting import wait_until
from wlmctl.broker.contract import BrokerError
from wlmctl.broker.memory import MemoryBroker
from wlmctl.connections import ConnectionPool
from wlmctl.errors import BrokenOff, Cancelled, StoreBusy, TaskFailed
from wlmctl.message import (
    Deferral,
    EndMessage,
    Message,
    Outcome,
    PollAnswerMessage,
    PollMessage,
    ProbeMessage,
    ResultMessage,
    StepProgress,
    StopMessage,
    TaskKey,
    TaskMessage,
    WorkerInfo,
    decode,
    encode,
    unbundle,
)
from wlmctl.orchestrator.errands import Errands
from wlmctl.queues import DEAD, RESULTS, control_queue, worker_queue
from wlmctl.task import Deferred, Done, Failed, Gone, Resources, Running, Unknown
from wlmctl.task_context import TaskContext
from wlmctl.worker.context import ExecutionContext
from wlmctl.worker.execution import execute_many
from wlmctl.worker.machines import Machines
from wlmctl.worker.watch import Watcher
from wlmctl.worker.worker import Worker, WorkerSettings

Execute = Callable[[TaskContext], Any]


class Obeying(Step):
    """A task type that does what the test says; it can end what it has not started."""

    def __init__(self) -> None:
        self.execution: Execute = lambda _: Done()
        self.ending: Any = Gone()
        self.polling: Callable[[], Mapping[str, Any]] = dict

    def execute(self, spec: Any, context: TaskContext) -> Any:
        return self.execution(context)

    def handle(self, spec: Any, context: TaskContext) -> Mapping[str, Any]:
        return {"job": 7}

    def poll(self, handles: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
        return self.polling()

    def cancel(self, handle: Mapping[str, Any], context: Any) -> Any:
        return self.ending() if callable(self.ending) else self.ending


class Bench:
    """One worker with one slot, and the test at the other ends of its queues."""

    def __init__(self) -> None:
        self.broker, self.type = MemoryBroker(), Obeying()
        self.channel = self.broker.channel()
        self.channel.consume(RESULTS.format(prefix="wlm"), 1000)
        pool = ConnectionPool(self._no_connection)
        info = WorkerInfo("w", "h", "h", "u", "b", 1, "1", slots=1, types=("obeying",))
        self.worker = Worker("w", self.broker, Machines(pool), settings=WorkerSettings(info))
        self._count, self._said = 0, deque[Message]()

    @staticmethod
    def _no_connection(machine: Any) -> Any:
        raise AssertionError(f"nothing here connects to {machine.name}")

    def message(self, *, cancel: bool = False) -> TaskMessage:
        """One more dispatch, which is not sent yet."""
        self._count += 1
        return TaskMessage(
            TaskKey(1, 0, 1, self._count), "nonce", "token", "x-aaaaaa", "t", "obeying", {}, {"local": "local"},
            {"local": machine("local")}, "/tmp", Resources(), cancel=cancel,
        )  # fmt: skip

    def send(self, message: TaskMessage | None = None, *, cancel: bool = False) -> TaskMessage:
        """One dispatch into the work queue."""
        message = message or self.message(cancel=cancel)
        self.channel.publish(worker_queue("wlm", "w"), encode(message))
        return message

    def order(self, message: Message | bytes) -> None:
        body = message if isinstance(message, bytes) else encode(message)
        self.channel.publish(control_queue("wlm", "w"), body)

    def next(self) -> Message:
        if not self._said:
            delivery = self.channel.receive(20)
            assert delivery is not None, "the worker says nothing"
            self._said.extend(decode(body) for body in unbundle(delivery.body))
        return self._said.popleft()

    def outcome(self) -> Outcome:
        """What becomes of the next dispatch that ends."""
        while not isinstance(message := self.next(), ResultMessage):
            pass
        return message.outcome

    def answer(self) -> Outcome:
        """What the next answer about a deferred task says."""
        while not isinstance(message := self.next(), PollAnswerMessage):
            pass
        return message.answers[0].outcome


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench()
    for place in ("wlmctl.plugins.task_type", "wlmctl.worker.slots.task_type"):
        monkeypatch.setattr(place, lambda _: made.type)
    made.worker.start()
    yield made
    made.worker.close(5)


def nested(depth: int) -> dict[str, Any]:
    """So many objects inside one another."""
    return {"x": nested(depth - 1)} if depth else {}


def raises(error: BaseException) -> Execute:
    def execution(_: TaskContext) -> Any:
        raise error

    return execution


@pytest.mark.parametrize(
    ("execution", "reason"),
    [
        (raises(RuntimeError("oops")), "internal error: RuntimeError: oops"),
        (lambda _: sys.exit(3), "internal error: SystemExit: 3"),
        (lambda _: None, "internal error: TypeError: a task type answered None"),
        (lambda _: Deferred({"job": object()}), "a task type answered Deferred: it cannot travel in a message"),
        (lambda _: Deferred(nested(500)), "a task type answered Deferred: it cannot travel in a message: nested"),
        (lambda _: Done(outputs={"x": Path("/")}), "a task type answered Done: it cannot travel in a message"),  # type: ignore[dict-item]
        (lambda _: Done(outputs={"x": 7}), "Expected `str`, got `int` - at `$.outputs[...]`"),  # type: ignore[dict-item]
        (lambda _: Done(exit_code=2**70), "a task type answered Done: it cannot travel in a message"),
        (raises(TaskFailed("x", "no such class")), "internal error: TaskFailed: it cannot travel in a message"),
        (lambda _: Failed("x", "no such class"), "internal error: ValueError"),  # type: ignore[arg-type]
        (raises(Cancelled("just so")), "stopped without being told to"),
        (raises(StoreBusy("store x: another process has kept it locked")), "store x: another process"),
        (raises(BrokerError("the broker is away")), "the broker is away"),
    ],
)
def test_a_task_type_that_misbehaves_costs_its_own_attempt_and_no_slot(
    bench: Bench, execution: Execute, reason: str
) -> None:
    bench.type.execution = execution
    bench.send()
    outcome = bench.outcome()
    assert (outcome.what, outcome.failure_class) == ("failed", "infra")
    assert reason in outcome.reason
    bench.type.execution = lambda _: Done()
    bench.send()
    assert bench.outcome().what == "done"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (Done(outputs={"x": 7}), "failed"),  # type: ignore[dict-item]
        (Failed("x", "no such class"), "failed"),  # type: ignore[arg-type]
        (Running(reason=7), "unknown"),  # type: ignore[arg-type]
        (None, "unknown"),
    ],
)
def test_an_answer_that_nobody_could_read_costs_its_own_task_alone_and_an_end_stays_an_end(
    bench: Bench, given: Any, what: str
) -> None:
    bench.type.polling = lambda: {"0": given, "1": Running(), "2": Done()}
    keys = [TaskKey(1, number, 1, 1) for number in range(3)]
    bench.order(PollMessage(machine("local"), 1, 0.0, [Deferral(key, "obeying", {}) for key in keys]))
    message = bench.next()
    assert isinstance(message, PollAnswerMessage)
    assert [answer.outcome.what for answer in message.answers] == [what, "running", "done"]
    bench.type.ending = given
    bench.order(EndMessage(machine("local"), [Deferral(keys[0], "obeying", {})]))
    assert bench.answer().what == what


class Gathering(Obeying):
    """Executes many together."""

    def execute_many(self, members: Sequence[tuple[Any, TaskContext]]) -> Sequence[Any]:
        return [Deferred({"job": 1}), Deferred({"job": object()}), Done()]

    def pack(self, spec: Any) -> int:
        return 1


def test_of_many_that_are_executed_together_one_that_nobody_could_read_costs_no_other(bench: Bench) -> None:
    bench.type = Gathering()
    contexts = [ExecutionContext(bench.message(), bench.worker._machines) for _ in range(3)]
    outcomes = execute_many(contexts, bench.worker._watcher)
    assert [outcome.what for outcome in outcomes] == ["deferred", "failed", "done"]


def test_figures_that_no_heartbeat_can_carry_are_the_task_type_s_own_fault(bench: Bench) -> None:
    said = list[StepProgress]()

    def execution(context: TaskContext) -> Any:
        context.progress(what="half", bytes_done=2.5e6, bytes_total=1e30)
        said.extend(bench.worker.progress())
        context.progress(bytes_done=None)  # type: ignore[arg-type]

    bench.type.execution = execution
    bench.send()
    assert "internal error: TypeError" in bench.outcome().reason
    assert [(each.what, each.bytes_done, each.bytes_total) for each in said] == [("half", 2_500_000, 2**63 - 1)]


def test_the_time_left_that_a_worker_tells_counts_files_beside_bytes(bench: Bench) -> None:
    left_s = list[float | None]()

    def execution(context: TaskContext) -> Any:
        context.progress(files_total=10, files_done=5)
        left_s.append(wait_until(lambda: next(iter(bench.worker.progress())).left_s, "a rate is known"))
        return Done()

    bench.type.execution = execution
    bench.send()
    assert bench.outcome().what == "done"
    assert left_s[0] is not None


def test_a_stop_reaches_what_executes(bench: Bench) -> None:
    began = threading.Event()

    def execution(context: TaskContext) -> Any:
        began.set()
        wait_until(lambda: context.check_cancelled(), "never: the stop ends it")

    bench.type.execution = execution
    message = bench.send()
    assert began.wait(60)
    bench.order(StopMessage([message.key]))
    assert bench.outcome().what == "cancelled"


@pytest.fixture
def busy(bench: Bench) -> Iterator[threading.Event]:
    """The only slot executes something until this is set; nothing else may execute."""
    go_on, executed = threading.Event(), list[int]()

    def execution(context: TaskContext) -> Any:
        executed.append(1)
        go_on.wait(60)
        return Done()

    bench.type.execution = execution
    bench.send()
    wait_until(lambda: executed, "the slot is busy")
    yield go_on
    assert executed == [1]


def test_a_stop_that_comes_before_its_dispatch_is_not_forgotten(bench: Bench, busy: threading.Event) -> None:
    second = bench.message()
    bench.order(StopMessage([second.key]))
    wait_until(lambda: bench.worker._control.is_stopped(second), "the order has arrived")
    bench.send(second)
    busy.set()
    assert sorted(bench.outcome().what for _ in range(2)) == ["cancelled", "done"]


def test_what_waits_for_a_slot_is_stopped_at_once(bench: Bench, busy: threading.Event) -> None:
    second = bench.send()
    wait_until(lambda: bench.worker._book.waiting, "the dispatch waits")
    bench.order(StopMessage([second.key]))
    assert bench.outcome().what == "cancelled"
    busy.set()
    assert bench.outcome().what == "done"


def test_a_dispatch_to_end_what_may_run_is_not_stopped_before_it_has_proven_it(bench: Bench) -> None:
    began, go_on = threading.Event(), threading.Event()

    def ending() -> Any:
        began.set()
        go_on.wait(60)
        return Gone("killed")

    bench.type.ending = ending
    message = bench.send(cancel=True)
    assert began.wait(60)
    bench.order(StopMessage([message.key]))
    wait_until(lambda: bench.worker._control.is_stopped(message), "the order has arrived")
    go_on.set()
    assert bench.outcome().reason == "killed"


def test_an_end_that_cannot_be_proven_makes_the_work_known_instead(bench: Bench) -> None:
    bench.type.ending = Unknown("a process cannot be looked at")
    bench.send(cancel=True)
    outcome = bench.outcome()
    assert (outcome.what, outcome.handle) == ("deferred", {"job": 7})


def test_a_text_of_which_no_job_can_be_made_is_an_end_and_not_asked_for_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(*_: Any) -> Any:
        raise TaskFailed("directory: '../x' leaves the experiment's folder")

    monkeypatch.setattr(bench.type, "handle", handle, raising=False)
    bench.send(cancel=True)
    outcome = bench.outcome()
    assert (outcome.what, outcome.reason) == ("failed", "directory: '../x' leaves the experiment's folder")


def broken_off() -> Any:
    raise BrokenOff("no permit can come any more")


def test_an_end_that_was_broken_off_proves_nothing(bench: Bench) -> None:
    bench.type.ending = broken_off
    bench.send(cancel=True)
    assert bench.outcome().what == "unknown"
    bench.order(EndMessage(machine("local"), [Deferral(TaskKey(1, 0, 1, 1), "play", {"job": 7})]))
    assert bench.answer().what == "unknown"


def test_a_poll_that_was_broken_off_says_nothing(bench: Bench) -> None:
    bench.type.polling = broken_off
    bench.order(PollMessage(machine("local"), 1, 0.0, [Deferral(TaskKey(1, 0, 1, 1), "play", {"job": 7})]))
    assert bench.answer().what == "unknown"


def test_what_cannot_be_read_goes_to_the_dead_letters_and_the_worker_goes_on(bench: Bench) -> None:
    bench.channel.publish(worker_queue("wlm", "w"), b"garbage")
    bench.order(b"garbage")
    bench.channel.publish(worker_queue("wlm", "w"), encode(ProbeMessage(machine("local"))))
    bench.send()
    assert bench.outcome().what == "done"
    wait_until(lambda: bench.broker.depth(DEAD.format(prefix="wlm")) == 3, "all three are buried")


def test_an_order_to_end_many_is_answered_in_groups_by_a_few_threads(bench: Bench) -> None:
    before = threading.active_count()
    most = [before]

    def ending() -> Any:
        most.append(threading.active_count())
        time.sleep(0.002)  # what a machine takes
        return Gone("killed")

    bench.type.ending = ending
    keys = [TaskKey(1, number, 1, 1) for number in range(1000)]
    bench.order(EndMessage(machine("local"), [Deferral(key, "obeying", {}) for key in keys]))
    answered, groups = set[TaskKey](), 0
    while len(answered) < 1000:
        message = bench.next()
        assert isinstance(message, PollAnswerMessage)
        assert message.ending
        groups += 1
        answered |= {answer.key for answer in message.answers}
    assert answered == set(keys)
    assert 1 < groups < 500
    assert max(most) <= before + 8


def test_answers_with_much_output_travel_apart(bench: Bench) -> None:
    half = b"x" * (3 * 2**20)
    bench.type.polling = lambda: {f"{number}": Running(stdout=half) for number in range(3)}
    deferrals = [Deferral(TaskKey(1, number, 1, 1), "obeying", {}, 0, 0) for number in range(3)]
    bench.order(PollMessage(machine("local"), 5, 0.0, deferrals))
    messages = [bench.next() for _ in range(3)]
    assert all(isinstance(message, PollAnswerMessage) and message.number == 5 for message in messages)


def test_answers_with_large_outputs_travel_apart(bench: Bench) -> None:
    large = {"field": "7" * (3 * 2**20)}
    bench.type.polling = lambda: {f"{number}": Done(outputs=large) for number in range(6)}
    deferrals = [Deferral(TaskKey(1, number, 1, 1), "obeying", {}) for number in range(6)]
    bench.order(PollMessage(machine("local"), 5, 0.0, deferrals))
    told = set[TaskKey]()
    while len(told) < 6:
        message = bench.next()
        assert isinstance(message, PollAnswerMessage)
        told |= {answer.key for answer in message.answers}


def test_work_whose_end_cannot_be_waited_for_is_deferred_all_the_same_and_polled(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    opened = list[int]()

    def watch(_: object) -> int:
        opened.append(os.open(tmp_path / "a file", os.O_RDONLY))
        return opened[-1]

    bench.type.watch = watch  # type: ignore[attr-defined]
    bench.type.execution = lambda _: Deferred({"job": 7})
    bench.send()
    outcome = bench.outcome()
    assert (outcome.what, outcome.watched) == ("deferred", False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def oops(*_: object) -> Any:
    raise RuntimeError("oops")


def test_a_worker_that_can_take_nothing_any_more_says_what_has_ended_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.worker._credit, "look", oops)
    wait_until(lambda: str(bench.worker.error()) == "oops", "whoever runs the worker can see it")


def test_orders_are_obeyed_after_an_idle_connection_did_not_close(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = list[int]()

    def close_idle() -> None:
        closed.append(1)
        raise StoreBusy("store x: another process has kept it locked for too long")

    monkeypatch.setattr("wlmctl.worker.control.IDLE_LOOK_S", 0.02)
    monkeypatch.setattr(bench.worker._machines.pool, "close_idle", close_idle)
    bench.order(StopMessage([]))
    wait_until(lambda: len(closed) > 1, "idle connections are closed again and again")
    bench.order(PollMessage(machine("local"), 1, 0.0, [Deferral(TaskKey(1, 0, 1, 1), "play", {"job": 7})]))
    assert bench.answer().what == "unknown"


def test_ends_are_told_after_one_that_could_not_be() -> None:
    told = list[str]()

    def ended(machine: Any, deferrals: Sequence[Deferral]) -> None:
        told.extend(each.type for each in deferrals)
        if told == ["first"]:
            raise SystemExit("a plugin")

    watcher = Watcher(ended)
    for number, name in enumerate(("first", "second")):
        readable, writable = os.pipe()
        watcher.add(readable, machine("local"), Deferral(TaskKey(1, number, 1, 1), name, {}))
        os.close(writable)
        wait_until(lambda number=number: len(told) == number + 1, f"the {name} end is told")  # type: ignore[misc]
    watcher.close()


def test_the_broker_is_asked_on_after_a_question_that_met_a_bug() -> None:
    broker, answers = MemoryBroker(), list[Any]()
    channel = broker.channel()
    channel.declare("q")
    errands = Errands(cast(Any, SimpleNamespace(probe=lambda queue: oops() if queue == "bad" else queue)), channel)
    for queue in ("bad", "good"):
        errands.look([queue], answers.append)
    wait_until(lambda: (errands.hear(), len(answers) == 2)[1], "both are answered")
    errands.close()
    assert [str(answer) for answer in answers] == ["internal error: RuntimeError: oops", "['good']"]
