"""What an explanation is made of: facts with a code for programs and a sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wlmctl.quantities import format_duration

#: So many of a list are named, the rest is counted.
MOST_NAMED = 5

#: So many are figures.
MOST_LISTED = 100


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the store tells. ``figures`` are plain JSON values; times, in seconds since the epoch, are those
    whose names are in ``TIMES``."""

    code: str
    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


#: The names of figures that are times.
TIMES = frozenset({"at", "since", "until", "probe_due", "ended"})


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations of the past: the median, the shortest, the longest, and how many there are."""

    median_s: float
    least_s: float
    most_s: float
    count: int


@dataclass(frozen=True, slots=True)
class ExpectedStart:
    """When a task should start, as others like it have: seconds since the epoch, and the waits it is taken from.

    ``median_s`` is None where it has waited for longer than half of them did, ``latest_s`` for longer than any.
    """

    earliest_s: float
    median_s: float | None
    latest_s: float | None
    waits: Spread
    #: Whose past it is: ``task`` (of experiments of this name) or ``type``.
    basis: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task stands where it does: ``why`` is the cause, ``facts`` what else is known."""

    experiment: str
    task: str
    state: str
    why: Fact
    facts: Sequence[Fact]
    expected_start: ExpectedStart | None = None


@dataclass(slots=True)
class Findings:
    """What a look has found: causes, the first of which is the answer, and notes beside them."""

    causes: list[Fact] = field(default_factory=list)
    notes: list[Fact] = field(default_factory=list)

    def cause(self, code: str, text: str, **figures: Any) -> None:
        """Something that keeps the task where it is; those that must go first are told first."""
        self.causes.append(Fact(code, text, figures))

    def note(self, code: str, text: str, **figures: Any) -> None:
        """Something worth knowing beside the cause."""
        self.notes.append(Fact(code, text, figures))


def moment(at_s: float, now_s: float) -> str:
    """A time for people: ``2026-01-02 03:04:05 (5m 00s ago)``."""
    shown = datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if at_s > now_s:
        return f"{shown} (in {format_duration(at_s - now_s)})"
    return f"{shown} ({format_duration(now_s - at_s)} ago)"


def stands(state: str) -> str:
    """A state as a verb: ``is running``, ``has failed``."""
    match state:
        case "succeeded" | "failed":
            return f"has {state}"
        case "cancelled" | "skipped":
            return f"was {state}"
        case _:
            return f"is {state}"


def listed(words: Iterable[str], total: int | None = None) -> str:
    """The first few, and how many more there are."""
    known = list(words)
    more = (len(known) if total is None else total) - len(known[:MOST_NAMED])
    return ", ".join(known[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
