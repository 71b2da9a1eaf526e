"""Progress without a terminal: plain lines on stderr, one a change of interest, never a flood."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from wlmctl.cli.how_far import how_far
from wlmctl.cli.progress_picture import Change, Followed, Group, Picture
from wlmctl.quantities import format_duration
from wlmctl.store.rows import EventRow
from wlmctl.text import counted, shown

if TYPE_CHECKING:
    from wlmctl.runtime.foreground import Transfer

#: A task with more instances is told by its numbers, not instance by instance.
MANY = 50
#: Failures of such a task that are told one by one.
FAILURES_TOLD = 10
#: Seconds between two lines of numbers, at least; more the longer it takes: a tenth of the time gone by.
LEAST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 60.0
_TRANSFER_PAUSE_S = 10.0
#: After so long without a change, with tasks ready and none under way, that is told.
IDLE_S = 10.0
_STARTED = frozenset({"running", "deferred"})


class Lines:
    """Tells progress as lines of text to ``write``; ``clock`` counts seconds."""

    def __init__(
        self,
        picture: Picture,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._picture = picture
        self._write = write or _to_stderr
        self._clock = clock
        self._begun = self._transfers_told = self._changed_at = clock()
        self._told_idle = False
        self._told_waiting: set[int] = set()
        self._numbers_due = 0.0
        self._changed: dict[int, Group] = {}
        self._failures: dict[int, int] = {}
        self._holds: dict[str, str] = {}

    def begin(self) -> None:
        """Name each experiment."""
        for followed in self._picture.experiments.values():
            row = followed.row
            when = ""
            if followed.state == "scheduled" and row.start_due is not None:
                when = f", starts at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(row.start_due))}"
            done = sum(group.done for group in followed.groups)
            self._tell(f"{row.id}: {counted(row.task_count, 'task')}{f', {done} have ended' if done else ''}{when}")

    def show(self, changes: Sequence[Change], transfers: Sequence[Transfer], holds: Mapping[str, str], /) -> None:
        """Tell what is new."""
        for change in changes:
            self._show(change)
        self._show_holds(holds)
        now = self._clock()
        if changes:
            self._changed_at, self._told_idle = now, False
        elif now - self._changed_at >= IDLE_S and not self._told_idle and not holds:
            self._told_idle = True
            self._show_idle()
        if now >= self._numbers_due:
            self._show_numbers(now)
        if transfers and now - self._transfers_told >= _TRANSFER_PAUSE_S:
            self._transfers_told = now
            for transfer in transfers[:3]:
                self._tell(f"{shown(transfer.task)}: {transfer_text(transfer)}")

    def end(self) -> None:
        """Tell the last numbers."""
        self._show_numbers(self._clock())

    def _show(self, change: Change) -> None:
        event, group = change.event, change.group
        if group is None:
            if event.kind == "experiment" and event.source is not None and not change.experiment.is_final:
                self._tell(f"{change.experiment.row.id}: {event.target}{_why(event.reason)}")
            return
        if event.kind == "waiting":
            self._told_waiting.add(event.exp)
            self._tell(f"{self._name(event)}: waits{_why(event.reason)}")
        if event.kind != "task":
            return
        self._told_waiting.discard(event.exp)
        if group.total > MANY:
            self._changed[id(group)] = group
            failures = self._failures.get(id(group), 0)
            if event.target != "failed" or failures >= FAILURES_TOLD:
                return
            self._failures[id(group)] = failures + 1
        text = change_text(change)
        if event.target in _STARTED and event.source not in _STARTED:
            text = self._started(event)
        if text:
            self._tell(f"{self._name(event)}: {text}")

    def _name(self, event: EventRow) -> str:
        """The task's name, of several experiments with the experiment's id."""
        followed, name = self._picture.experiments, self._picture.task_name(event.exp, event.task or 0)
        return name if len(followed) == 1 else f"{followed[event.exp].row.id} {name}"

    def _started(self, event: EventRow) -> str:
        given = self._picture.assignment(event)
        machine, attempt = given.get("machine"), given.get("attempt") or 1
        return "started" + (f" on {machine}" if machine else "") + (f" (attempt {attempt})" if attempt > 1 else "")

    def _show_numbers(self, now: float) -> None:
        for group in self._changed.values():
            self._tell(f"{group.name}: {numbers_text(group)}")
        if self._changed:
            pause_s = max(LEAST_PAUSE_S * len(self._changed), (now - self._begun) / 10)
            self._numbers_due = now + min(pause_s, LONGEST_PAUSE_S)
        self._changed.clear()

    def _show_idle(self) -> None:
        for seq, followed in self._picture.experiments.items():
            ready = followed.counts["ready"]
            if (
                ready
                and seq not in self._told_waiting
                and followed.state == "running"
                and not any(group.running for group in followed.groups)
            ):
                who = "1 ready task waits" if ready == 1 else f"{ready} ready tasks wait"
                self._tell(f"{followed.row.id}: {who} for room on a machine that other experiments use")

    def _show_holds(self, holds: Mapping[str, str]) -> None:
        for machine, reason in holds.items():
            if machine not in self._holds:
                self._tell(hold_text(machine, reason))
        for machine in self._holds.keys() - holds.keys():
            by_user = self._holds[machine].startswith("by ")
            self._tell(f"machine {machine} {'is released' if by_user else 'answers again'}")
        self._holds = dict(holds)

    def _tell(self, text: str) -> None:
        self._write(f"{time.strftime('%H:%M:%S')} {text}")


def change_text(change: Change) -> str:
    """How a task's attempt ended, or an empty text where the change is of no interest to people."""
    event = change.event
    if event.target == "succeeded":
        return "succeeded"
    if event.target in ("failed", "cancelled", "skipped", "cancelling"):
        return f"{event.target}{_why(event.reason)}"
    if event.target == "waiting" and event.source not in ("ready", None):
        due = event.values.get("due")
        again = f" in {format_duration(max(due - event.time, 0))}" if due else ""
        return f"tries again{again}{_why(event.reason)}"
    return ""


def numbers_text(group: Group) -> str:
    """``120 of 50000 have ended, 8 under way, 2 failed``."""
    parts = [f"{group.done} of {group.total} have ended"]
    if group.running:
        parts.append(f"{group.running} under way")
    parts += [f"{group.counts[state]} {state}" for state in ("failed", "cancelled", "skipped") if group.counts[state]]
    return ", ".join(parts)


def hold_text(machine: str, reason: str) -> str:
    """``machine nas is held, its tasks wait: connection refused``."""
    why = _first_line(reason).removeprefix(f"machine {machine}: ")
    return f"machine {machine} is held, its tasks wait: {why}"


def transfer_text(transfer: Transfer) -> str:
    """``points.csv 1.2 GiB of 3.0 GiB, 85 MiB/s, 21s left``."""
    text = how_far(
        transfer.bytes_done, transfer.bytes_total, transfer.files_done, transfer.files_total, transfer.rate_bytes_s,
        transfer.left_s,
    )  # fmt: skip
    return f"{shown(transfer.what)} {text}".strip()


def summary_text(followed: Followed) -> str:
    """``pi-abc234: failed: 3 succeeded, 1 failed, in 12s``."""
    counts = followed.counts
    order = ("succeeded", "failed", "cancelled", "skipped", "waiting", "ready", "assigned", "running", "deferred")
    tasks = ", ".join(f"{counts[state]} {state}" for state in order if counts[state])
    took = ""
    if followed.row.ended is not None and followed.row.started is not None:
        took = f", in {format_duration(followed.row.ended - followed.row.started)}"
    return f"{followed.row.id}: {followed.state}: {tasks}{took}"


def _why(reason: str | None) -> str:
    return f": {_first_line(reason)}" if reason else ""


def _first_line(text: str) -> str:
    return shown(text.strip().partition("\n")[0])


def _to_stderr(text: str) -> None:
    with suppress(OSError):  # who closed stderr does not want to know
        click.echo(text, err=True)
