"""Names of tasks and of their instances: ``simulate``, ``simulate[300,1]``, on the command line ``simulate:300,1``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wlmctl.errors import UsageError
from wlmctl.text import in_quotes

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
NAME_FORM = "a name: 1-40 letters, digits, _ and -, the first a letter or digit"

_NAME = re.compile(NAME_PATTERN)
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
_SELECTOR = re.compile(rf"({NAME_PATTERN})(?:\[([^\[\]]+)\]|:(.+))?", re.DOTALL)


def is_name(text: str) -> bool:
    """True for what may name an experiment, a task, a param, a role or a ``foreach`` key."""
    return _NAME.fullmatch(text) is not None


def instance_label(row: Sequence[str], position: int) -> str:
    """What stands in the brackets: the values, one that is not plain as ``@`` and the instance's position from 0."""
    return ",".join([value if _PLAIN_VALUE.fullmatch(value) else f"@{position}" for value in row])


def instance_name(template: str, row: Sequence[str], position: int) -> str:
    """``simulate`` without ``foreach``, else ``simulate[1]``, ``simulate[300,1]`` or ``simulate[@3]``."""
    return f"{template}[{instance_label(row, position)}]" if row else template


def repeated_instance(rows: Sequence[tuple[str, ...]]) -> tuple[int, int] | None:
    """The positions of two instances that would have one name, or None."""
    # Names differ exactly where rows do, or where a value is shown by its position.
    if len(set(rows)) == len(rows):
        return None
    first: dict[tuple[str, ...], int] = {}
    for position, row in enumerate(rows):
        earlier = first.setdefault(row, position)
        if earlier != position and all(map(_PLAIN_VALUE.fullmatch, row)):
            return earlier, position
    return None


def parse_task_selector(text: str) -> tuple[str, str | None]:
    """``simulate:300,1`` or ``simulate[300,1]`` as the task's name and the instance's label; None: all of them."""
    match = _SELECTOR.fullmatch(text)
    if match is None:
        raise UsageError(f"{in_quotes(text)}: expected a task: NAME, NAME:VALUE,... or NAME[VALUE,...]")
    return match[1], match[2] or match[3]
