"""A worker in a hurry: one slot does what is instant, and results that come close together travel together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import wait_until
from wlmctl.broker.contract import Delivery, Outgoing
from wlmctl.message import Outcome, ResultMessage, TaskKey, TaskMessage, encode, unbundle
from wlmctl.task import Resources
from wlmctl.worker import book as book_module
from wlmctl.worker import outbox as outbox_module
from wlmctl.worker.book import Book
from wlmctl.worker.dispatch import Dispatch
from wlmctl.worker.outbox import Outbox


def made(number: int) -> Dispatch:
    message = TaskMessage(TaskKey(1, number, 1, 1), "n", "t", "e", "a", "noop", {}, {}, {}, "/f", Resources())
    return Dispatch(message, Delivery("q", b"", number), 100.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [100.0]
    for module in (book_module, outbox_module):
        monkeypatch.setattr(module, "monotonic", lambda: now_s[0])
    return now_s


@pytest.fixture
def slots() -> Iterator[Callable[[Book, int], None]]:
    """Start slots that each begin with one dispatch and do not come back before the end of the test."""
    is_over, threads, books = threading.Event(), list[threading.Thread](), list[Book]()

    def work(book: Book) -> None:
        while (dispatch := book.next()) is not None:
            is_over.wait()
            book.next(dispatch)

    def start(book: Book, count: int) -> None:
        books.append(book)
        for _ in range(count):
            threads.append(threading.Thread(target=work, args=(book,)))
            threads[-1].start()
        wait_until(lambda: book._idle == count, "all slots wait")

    yield start
    is_over.set()
    for book in books:
        book.close()
    for thread in threads:
        thread.join()


def test_what_one_slot_does_not_begin_with_goes_to_the_others(slots: Any, clock: list[float]) -> None:
    book = Book(3)
    slots(book, 3)
    book.add([made(number) for number in range(3)])
    wait_until(lambda: book.taken == 1, "one has begun")
    assert book.is_held_up
    clock[0] += 1.0
    book.spread()
    wait_until(lambda: book.taken == 3, "all have begun")
    assert not book.is_held_up


def test_slots_that_begin_with_one_after_the_other_are_left_alone(slots: Any, clock: list[float]) -> None:
    book = Book(2)
    slots(book, 2)
    book.add([made(number) for number in range(2)])
    wait_until(lambda: book.taken == 1, "one has begun")
    book.spread()
    book.taken += 20  # as a slot does to which all of them are instant
    clock[0] += 0.001
    book.spread()
    assert book._idle == 1
    clock[0] += 0.001
    book.spread()  # and now it has begun with nothing
    wait_until(lambda: book._idle == 0, "the other slot has begun")


def test_what_comes_while_a_slot_is_at_a_long_step_is_begun_at_once(slots: Any, clock: list[float]) -> None:
    book = Book(2)
    slots(book, 2)
    book.add([made(0)])
    wait_until(lambda: book.taken == 1, "one has begun")
    clock[0] += 1.0
    book.add([made(1)])
    wait_until(lambda: book.taken == 2, "both have begun")


class Line:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []

    def send(self, messages: Iterable[Outgoing]) -> None:
        self.sent += messages

    def confirm(self) -> None:
        told = self.sent[-1].told
        assert told is not None
        told(None)


def result(number: int) -> bytes:
    return encode(ResultMessage("w", TaskKey(1, number, 1, 1), "n", "x", Outcome("done")))


def test_results_wait_a_moment_for_one_another_while_more_is_about_to_end(clock: list[float]) -> None:
    line: Any = Line()
    waiting = [3]
    broker: Any = SimpleNamespace(state=SimpleNamespace(what="connected"))
    outbox = Outbox(
        broker, line, "results", is_busy=lambda: waiting[0] > 0, started=lambda _: b"", settled=lambda _: None,
        too_large=lambda *_: None,
    )  # fmt: skip
    dispatches = [made(number) for number in range(5)]
    for dispatch in dispatches:
        outbox.put_started(dispatch)
    outbox.put_result(dispatches[0], result(0))
    assert len(line.sent) == 1  # nothing went before it
    line.confirm()
    outbox.put_result(dispatches[1], result(1))
    outbox.put_result(dispatches[2], result(2))
    assert len(line.sent) == 1
    clock[0] += outbox_module.GATHER_S
    outbox.put_result(dispatches[3], result(3))
    assert [len(unbundle(message.body)) for message in line.sent] == [1, 3]
    line.confirm()
    waiting[0] = 0
    outbox.put_result(dispatches[4], result(4))  # the last one: nothing more will come
    assert [len(unbundle(message.body)) for message in line.sent] == [1, 3, 1]
