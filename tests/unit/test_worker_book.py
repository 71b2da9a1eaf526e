"""Who begins next in a worker: by priority and order, with one slot kept free of what moves data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.waiting import wait_until
from wlmctl.broker.contract import Delivery
from wlmctl.machine import Machine
from wlmctl.message import TaskKey, TaskMessage
from wlmctl.task import Resources
from wlmctl.worker.book import Book
from wlmctl.worker.dispatch import Dispatch


@pytest.fixture(autouse=True)
def types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wlmctl.worker.dispatch.moves_data", lambda name: name == "stage")
    monkeypatch.setattr(
        "wlmctl.worker.dispatch.gathers", lambda name, machine: name == "queued" and machine.name == "far"
    )


@pytest.fixture
def book() -> Book:
    return Book(3)


def add(book: Book, task: str, task_type: str = "stage", **fields: Any) -> None:
    """A dispatch arrives."""
    key = TaskKey(1, hash(task) % 10**9, 1, 1)
    where = {"far": Machine("far")} if task_type == "queued" else {}
    message = TaskMessage(key, "n", "t", "x", task, task_type, {}, {}, where, "", Resources(), **fields)
    book.add([Dispatch(message, Delivery("q", b"", 1), 0.0)])


def begun(book: Book) -> str:
    found = book.next()
    assert found is not None
    return found.message.task


def test_the_last_slot_is_for_what_moves_no_data_though_that_came_later(book: Book) -> None:
    for name in "abc":
        add(book, name, priority=9)
    add(book, "little", "job")
    assert [begun(book) for _ in range(3)] == ["a", "b", "little"]


def test_the_next_transfer_begins_when_one_has_ended(book: Book) -> None:
    for name in "abc":
        add(book, name)
    first = book.next()
    assert first is not None
    begun(book)
    add(book, "little", "job")
    assert begun(book) == "little"
    found = book.next(first)
    assert found is not None
    assert found.message.task == "c"


def test_priority_goes_before_order_among_both_kinds(book: Book) -> None:
    add(book, "low", priority=2)
    add(book, "job", "job", priority=4)
    add(book, "high", priority=8)
    assert [begun(book) for _ in range(3)] == ["high", "job", "low"]


def test_what_is_gathered_begins_together_and_the_next_when_that_has_ended(book: Book) -> None:
    for name in ("a", "b", "c"):
        add(book, name, "queued")
    first = book.next()
    assert first is not None
    along = book.along(first, 10)
    assert [each.message.task for each in (first, *along)] == ["a", "b", "c"]
    add(book, "d", "queued")
    add(book, "other", "job")
    assert begun(book) == "other", "another bunch gathers while one is under way"
    found = book.next(first, *along)
    assert found is not None
    assert found.message.task == "d"
    assert sorted(each.message.task for each in book.begun()) == ["d", "other"]


def test_a_member_that_is_taken_back_does_not_begin(book: Book) -> None:
    for name in ("a", "b", "c"):
        add(book, name, "queued")
    first = book.next()
    assert first is not None
    book.take_back(keys={TaskKey(1, hash("b") % 10**9, 1, 1)})
    assert [each.message.task for each in book.along(first, 10)] == ["c"]


@pytest.mark.parametrize("how", [{"cancel": True}, {"careful": True}])
def test_what_is_to_be_done_with_care_or_ends_something_is_in_no_company(book: Book, how: dict[str, bool]) -> None:
    add(book, "a", "queued")
    add(book, "b", "queued", **how)
    first = book.next()
    assert first is not None
    assert book.along(first, 10) == []
    assert begun(book) == "b"


def test_nothing_joins_a_bunch_while_something_waits_to_be_alone(book: Book) -> None:
    add(book, "a", "queued")
    add(book, "b", "queued")
    first = book.next()
    assert first is not None
    add(book, "mad", "job", alone=True)
    assert book.along(first, 10) == []
    found = book.next(first)
    assert found is not None
    assert found.message.task == "mad"


@pytest.fixture
def slots(book: Book) -> Iterator[list[str]]:
    """Three slots that begin and never end; what they have begun with."""
    taken: list[str] = []

    def take() -> None:
        if (found := book.next()) is not None:
            taken.append(found.message.task)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: book._idle == 3, "all slots are idle")
    yield taken
    book.close()
    for thread in threads:
        thread.join()


def test_what_waits_while_the_others_take_long_gets_the_idle_slots(book: Book, slots: list[str]) -> None:
    for name in "abc":
        add(book, name, "job")
    wait_until(lambda: "a" in slots, "a slot has begun")

    def all_have_begun() -> bool:
        book.spread()  # as the intake does every few milliseconds
        return sorted(slots) == ["a", "b", "c"]

    wait_until(all_have_begun, "the other slots have begun")
