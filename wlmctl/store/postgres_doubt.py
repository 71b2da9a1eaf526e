"""A commit whose answer was lost: each transaction leaves a mark, and whether that is there tells what became of it.

The number of the transaction would not: a server that was killed before it had written any of a transaction gives its
number to another, which may well commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from wlmctl.errors import CommitInDoubt, StoreOutage
from wlmctl.store.patience import Patience, for_seconds

log = logging.getLogger(__name__)

#: Seconds to ask what became of it, where nobody has more patience.
DOUBT_S = 15.0

#: How many marks are kept: so many transactions may follow before it is asked.
KEPT = 64

#: Makes the table that counts the transactions and keeps their marks.
TABLE = "CREATE TABLE changes (n BIGINT NOT NULL, marks UUID[] NOT NULL)"
FIRST = "INSERT INTO changes VALUES (0, '{}')"

#: The step of the schema that brought the marks, and what gives them to an older store.
MARKED, ADDED = 9, "ALTER TABLE changes ADD COLUMN IF NOT EXISTS marks UUID[] NOT NULL DEFAULT '{}'"

#: Counts the transaction and leaves its mark; returns a ``Mark``.
CHANGED = f"UPDATE changes SET n = n + 1, marks = (gen_random_uuid() || marks)[:{KEPT}] RETURNING n, marks[1]"

#: Asks for the count, and whether the mark is there; after the store's lock, under which a transaction ends.
FOUND = "SELECT n, %s = ANY(marks) FROM changes"


class Mark(NamedTuple):
    """What a transaction left: its number in the count, and what nobody else leaves."""

    n: int
    mark: Any


def settle(
    mark: Mark,
    find: Callable[[], tuple[int, bool]],
    outage: StoreOutage,
    patience: Callable[[StoreOutage], None] | None,
) -> None:
    """Return when it was committed; raise ``outage`` when it was not, and ``CommitInDoubt`` when nobody knows.

    ``find`` gives the answer to ``FOUND``.
    """
    patience = patience or Patience(for_seconds(DOUBT_S), tell=log.info)
    doubt = CommitInDoubt(f"{outage}; whether the last change was stored is not known")
    while True:
        try:
            n, is_there = find()
        except StoreOutage as error:
            try:
                patience(error)
            except StoreOutage:
                raise doubt from error
            continue
        if is_there:
            return
        raise outage if n < mark.n + KEPT else doubt
