"""What transfers take of machines: a slot each where they are long, and a share of the bandwidth.

Both are permits of the login, under names of their own, so that they are counted over all processes of a store and
come back from whoever is killed. A machine with two connections or more keeps one free of long transfers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from wlmctl.pace import Pace

if TYPE_CHECKING:
    from wlmctl.connections import Budget
    from wlmctl.machine import Machine

#: A transfer of no more than this is over soon, and needs no slot.
SHORT_BYTES, SHORT_FILES = 16 * 1024 * 1024, 256

#: How permits that are no connections are named, before the login.
SLOT, SHARE = "transfer ", "bandwidth "

#: As many as anybody wants.
_ANY = 2**31


def is_connection(name: str) -> bool:
    """True for a permit of a connection: a login."""
    return not name.startswith((SLOT, SHARE))


@contextmanager
def admitted(
    budget: Budget | None,
    ends: Sequence[tuple[str, Machine]],
    size_bytes: int,
    files: int,
    check: Callable[[], None],
    priority: int = 0,
) -> Iterator[Pace]:
    """Wait until the transfer may begin; it is to keep to the pace, and is over at the end of the ``with``.

    ``ends`` are its machines with their logins, one twice that is both ends; this host is none. To be called before a
    connection is taken, so that nobody waits for a slot who holds what others need to give theirs back.
    """
    pace = Pace(check)
    is_long = size_bytes > SHORT_BYTES or files > SHORT_FILES
    with ExitStack() as held:
        for login, machine in sorted(dict(ends).items()):  # in one order for all, so that none wait for each other
            if budget is not None and is_long:
                slots = max(1, machine.max_connections - 1)
                held.enter_context(_permit(budget, SLOT + login, slots, check, priority))
            if machine.bandwidth_bytes_s is not None:
                if budget is not None:
                    held.enter_context(_permit(budget, SHARE + login, _ANY, check, priority))
                times = sum(other == login for other, _ in ends)
                pace.keep(partial(_rate, budget, SHARE + login, machine.bandwidth_bytes_s), times)
        yield pace


def _rate(budget: Budget | None, name: str, bandwidth_bytes_s: int) -> float:
    return bandwidth_bytes_s / max(1, budget.sharing(name) if budget is not None else 1)


@contextmanager
def _permit(budget: Budget, name: str, limit: int, check: Callable[[], None], priority: int) -> Iterator[None]:
    token = budget.acquire(name, limit, check, priority)
    try:
        yield
    finally:
        budget.release(token)
