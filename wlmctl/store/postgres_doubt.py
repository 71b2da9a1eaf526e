"""A commit whose answer was lost: the server knows what became of the transaction with this number."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from wlmctl.errors import CommitInDoubt, StoreOutage
from wlmctl.store.patience import FIRST_S, Patience, for_seconds

log = logging.getLogger(__name__)

#: Seconds to ask what became of it, where nobody has more patience.
DOUBT_S = 15.0

#: Asks what became of the transaction with this number.
STATUS = "SELECT txid_status(%s)"


def settle(status: Callable[[], Any], outage: StoreOutage, patience: Callable[[StoreOutage], None] | None) -> None:
    """Return when it was committed; raise ``outage`` when it was not, and ``CommitInDoubt`` when nobody knows.

    ``status`` gives the answer to ``STATUS``.
    """
    patience = patience or Patience(for_seconds(DOUBT_S), tell=log.info)
    while True:
        try:
            answer = status()
        except StoreOutage as error:
            try:
                patience(error)
            except StoreOutage:
                raise CommitInDoubt(f"{outage}; whether the last change was stored is not known") from error
            continue
        if answer == ("committed",):
            return
        if answer == ("aborted",):
            raise outage
        if answer != ("in progress",):
            raise CommitInDoubt(f"{outage}; whether the last change was stored is not known") from outage
        time.sleep(FIRST_S)  # its process at the server has not noticed yet that nobody listens
