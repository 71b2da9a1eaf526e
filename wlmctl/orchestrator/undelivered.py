"""What the broker says of letters: confirms of dispatches, and errors, each with its consequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wlmctl.broker.contract import TooLarge, Unroutable
from wlmctl.errors import WlmctlError
from wlmctl.message import Outcome, TaskMessage
from wlmctl.orchestrator import ending
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.returned import give_back
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.sending import Letter
from wlmctl.orchestrator.watch import Watch
from wlmctl.orchestrator.work import Work

#: Letters that have not arrived, with why.
Undelivered = list[tuple[Letter, WlmctlError]]


def confirmed(
    works: Mapping[int, Work], answers: list[tuple[Letter, WlmctlError | None]], watch: Watch | None
) -> Undelivered:
    """Note what has arrived; the rest is returned."""
    rest: Undelivered = []
    for letter, error in answers:
        if error is not None:
            rest.append((letter, error))
        elif watch is not None and isinstance(letter.message, TaskMessage):
            found = current(works, letter.message.key, letter.message.nonce)
            if found is not None and found[1].seen_s is None:
                found[1].seen_s = watch.now_s
    return rest


def apply(
    book: Book, works: Mapping[int, Work], routing: Routing, letters: Undelivered, lost: Callable[[str], None]
) -> None:
    """Tasks whose dispatch has not arrived are ready again; what else was asked is asked again."""
    for letter, error in letters:
        if isinstance(error, Unroutable):
            routing.avoid(letter.queue)
        if isinstance(letter.message, TaskMessage):
            found = current(works, letter.message.key, letter.message.nonce)
            if found is None or not found[1].is_at_work:
                continue
            if isinstance(error, TooLarge):
                outcome = Outcome("failed", f"its context cannot be sent: {error}", "user")
                ending.fail(book, *found, outcome)
            elif isinstance(error, Unroutable):
                give_back(book, *found, str(error))
        elif isinstance(error, Unroutable):
            worker = routing.worker_of(letter.queue)
            if worker is not None:
                lost(worker)
