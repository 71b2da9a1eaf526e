"""Sizes and times as the commands of queues have them."""

from __future__ import annotations

import math
import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def bytes_of(text: str) -> int | None:
    """``23.5G``, ``65840kb``, ``257815M``: powers of 1,024; None for anything else."""
    match = _SIZE.fullmatch(text)
    return None if match is None else int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def minutes_of(seconds: float) -> int:
    """Whole minutes, at least one: what limits of queues are made of."""
    return max(1, math.ceil(seconds / 60))
