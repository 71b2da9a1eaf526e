"""Removing an ended experiment's folders, where its file asks for it."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping

from wlmctl.message import CleanedMessage, CleanMessage
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.routing import Routing
from wlmctl.orchestrator.work import Work
from wlmctl.states import EXPERIMENT_FINAL, ExperimentState
from wlmctl.store import machines

log = logging.getLogger(__name__)

#: By experiment, the machines that have not answered yet, each with the worker that was asked; None: nobody yet.
Cleaning = dict[int, dict[str, str | None]]


def begin(book: Book, work: Work, routing: Routing, cleaning: Cleaning) -> None:
    """The experiment has ended: order the removal on each machine it has touched."""
    clean = work.experiment.clean
    if clean == "always" or (clean == "succeeded" and work.state is ExperimentState.SUCCEEDED):
        names = [name for name in machines.machines_touched(book.db, work.seq) if name in routing.fleet]
        if names:
            cleaning[work.seq] = dict.fromkeys(names)
            order(book, {work.seq: work}, routing, cleaning)


def order(book: Book, works: Mapping[int, Work], routing: Routing, cleaning: Cleaning) -> None:
    """Ask for what nobody has been asked for yet."""
    for seq, asked in list(cleaning.items()):
        work = works.get(seq)
        for name in [name for name, worker in asked.items() if worker is None] if work is not None else ():
            assert work is not None
            place = work.place_of(name)
            hold = routing.fleet.held_by_user(place) if place is not None else None
            if hold is not None:
                asked[name] = ""
                answered(book, work, cleaning, CleanedMessage("", name, seq, f"it is held {hold.text}"))
                continue
            worker = routing.asked(place) if place is not None else None
            if place is not None and worker is not None:
                asked[name] = worker
                message = CleanMessage(routing.fleet.machine(place), work.seq, work.row.id)
                book.send(routing.control(worker), message)


def lost(cleaning: Cleaning, worker: str) -> None:
    """A worker is gone: what it was to clean is asked of another."""
    for asked in cleaning.values():
        for name in [name for name, whom in asked.items() if whom == worker]:
            asked[name] = None


def take_back(cleaning: Cleaning, before: Cleaning, live: Container[str]) -> None:
    """The last transaction is lost, and before it all stood as in ``before``: what was asked in it is asked again.

    What was begun in it stays, for it may have been committed after all (``drop``). ``live`` are the workers.
    """
    for seq in cleaning.keys() - before.keys():
        cleaning[seq] = dict.fromkeys(cleaning[seq])
    for seq, asked in before.items():
        cleaning[seq] = {name: worker if worker in live else None for name, worker in asked.items()}


def drop(cleaning: Cleaning, works: Mapping[int, Work]) -> None:
    """Remove nothing of what goes on, since it was retried or its end was lost, or is forgotten meanwhile."""
    for seq in [seq for seq in cleaning if seq not in works or works[seq].state not in EXPERIMENT_FINAL]:
        del cleaning[seq]


def answered(book: Book, work: Work | None, cleaning: Cleaning, message: CleanedMessage) -> None:
    """A machine has answered; with the last one the experiment is cleaned, as far as it could be."""
    left = cleaning.get(message.exp)
    if left is None or work is None or left.get(message.machine) != message.worker:
        return  # nobody asked for it, or not of this worker
    del left[message.machine]
    if message.reason:
        text = f"not cleaned on {message.machine}: {message.reason}; later: wlmctl clean {work.row.id}"
        log.warning("%s: %s", work.row.id, text)
        book.of(work).note("clean", text, machine=message.machine)
    if not left:
        del cleaning[message.exp]
        book.of(work).experiment_fields("cleaned", cleaned=1)
