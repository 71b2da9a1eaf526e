"""The key ``schedule`` of the file: when the experiments of a series are due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wlmctl.experiment.fields import Fields, one_of
from wlmctl.experiment.model import Schedule

KEYS = ("cron", "timezone", "catchup", "overlap")
OVERLAP = ("skip", "queue", "allow")
_FORM = 'a mapping such as {cron: "0 2 * * *", timezone: Europe/Berlin}'


def read_schedule(fields: Fields) -> Schedule | None:
    """The schedule of the file, None where there is none or it is wrong; mistakes are noted."""
    block = fields.mapping("schedule", _FORM)
    if block is None:
        return None
    from wlmctl.experiment.cron import CRON_FORM, checked_pattern, zone

    block.check_names(KEYS)
    cron = block.checked("cron", _text(checked_pattern, CRON_FORM), None)
    if "cron" not in block.node.items:
        block.wrong("cron", "is missing", CRON_FORM)
    timezone = block.checked("timezone", _text(zone, "a time zone such as UTC or Europe/Berlin"), "UTC")
    catchup = block.checked("catchup", _boolean, False)
    overlap = block.checked("overlap", one_of(OVERLAP), "skip")
    return None if cron is None else Schedule(cron, timezone, catchup, overlap)


def _text(check: Callable[[str], object], expected: str) -> Callable[[Any], str]:
    """A check for a text that ``check`` accepts; the text stays as it was written."""

    def text(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(expected)
        check(value)
        return value

    return text


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value
