"""After a transaction that the store has lost: what the memory made of it is taken back, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wlmctl.message import ProbeMessage, TaskMessage
from wlmctl.orchestrator.fleet import Fleet
from wlmctl.orchestrator.results import current
from wlmctl.orchestrator.sending import Letter
from wlmctl.orchestrator.work import Work


def take_back(
    works: Mapping[int, Work],
    unsent: Iterable[Letter],
    fleet: Fleet,
) -> None:
    """Prepare the memory for being read again; ``unsent`` was never sent, and what has arrived is applied once more.

    What a worker has stays known by its dispatch: one that was raised in the lost transaction is not in the store.
    One whose result came in it counts as under way: the result is applied once more, unless the broker loses it too.
    """
    for work in works.values():
        work.row.revision = -1
        work.told_held.clear()
        for active in work.active.values():
            active.handle, active.end_sent_s, active.timed_out = None, None, False
            active.sent |= active.idx not in work.unsent | work.unconfirmed
    for letter in unsent:
        message = letter.message
        if isinstance(message, TaskMessage):
            found = current(works, message.key, message.nonce)
            if found is not None:
                found[0].send_again(found[1])
        elif isinstance(message, ProbeMessage):
            fleet.not_probed(message.machine.name)
