"""Which task types have work that goes on without a worker, asked of each class once."""

from __future__ import annotations

from typing import Any, TypeGuard

from wlmctl.task import Defers

#: What was found of each class: to look at the protocol costs more than the rest of an empty execution.
_known: dict[type[Any], bool] = {}


def is_deferring(found: Any) -> TypeGuard[Defers]:
    """True for a task type that ``Defers``."""
    kind = type(found)
    known = _known.get(kind)
    if known is None:
        known = _known[kind] = isinstance(found, Defers)
    return known
