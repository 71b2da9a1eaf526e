"""Removing an ended experiment's folders, where its file asks for it."""

from __future__ import annotations

import logging

from wlmctl.message import CleanedMessage, CleanMessage
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.work import Work
from wlmctl.states import ExperimentState
from wlmctl.store import machines

log = logging.getLogger(__name__)

#: By experiment, the machines that have not answered yet.
Cleaning = dict[int, set[str]]


def begin(book: Book, work: Work, fleet: Fleet, cleaning: Cleaning) -> None:
    """The experiment has ended: order the removal on each machine it has touched."""
    clean = work.experiment.clean
    if clean == "always" or (clean == "succeeded" and work.state is ExperimentState.SUCCEEDED):
        names = [name for name in machines.machines_touched(book.db, work.seq) if name in fleet]
        for name in names:
            book.send(CleanMessage(fleet.machine(name), work.seq, work.row.id))
        if names:
            cleaning[work.seq] = set(names)


def answered(book: Book, work: Work | None, cleaning: Cleaning, message: CleanedMessage) -> None:
    """A machine has answered; with the last one the experiment is cleaned, as far as it could be."""
    left = cleaning.get(message.exp)
    if left is None or work is None:
        return
    left.discard(message.machine)
    if message.reason:
        text = f"not cleaned on {message.machine}: {message.reason}; later: wlmctl clean {work.row.id}"
        log.warning("%s: %s", work.row.id, text)
        book.of(work).note("clean", text, machine=message.machine)
    if not left:
        del cleaning[message.exp]
        book.of(work).experiment_fields("cleaned", cleaned=1)
