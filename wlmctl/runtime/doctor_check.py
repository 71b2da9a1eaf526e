"""One finding of ``wlmctl doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what to do where it is a problem."""

    name: str
    level: Level
    text: str
    advice: str = ""
