"""Why a message is a dead letter, and where it came from: our own words, or the broker's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Headers of a dead letter: why, and the queue it came from.
REASON, ORIGIN = "x-wlm-reason", "x-wlm-queue"


def reason_and_origin(headers: dict[str, Any]) -> tuple[str, str]:
    """Empty for a message that is none."""
    if REASON in headers:
        return str(headers[REASON]), str(headers.get(ORIGIN, ""))
    deaths: Iterable[Any] = headers.get("x-death") or ()
    for death in deaths:
        reason = death.get("reason")
        # we ourselves reject nothing else
        why = "larger than the limit" if reason == "rejected" else f"the broker dropped it: {reason}"
        return why, str(death.get("queue", ""))
    return "", ""
