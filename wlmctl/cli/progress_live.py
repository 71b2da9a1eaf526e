"""Progress on a terminal: tasks by state, transfers with rate and time left, held machines; redrawn in place."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wlmctl.cli.progress_lines import hold_text, transfer_text
from wlmctl.cli.progress_picture import Change, Followed, Picture
from wlmctl.cli.progress_picture import Group as TaskGroup
from wlmctl.quantities import format_duration
from wlmctl.text import shown

if TYPE_CHECKING:
    from wlmctl.runtime.foreground import Transfer

_REDRAW_S = 0.125
_BAR_COLUMNS = 24
_STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "skipped": "yellow",
    "running": "cyan",
    "ready": "dim",
}


class LiveDisplay:
    """A table on stderr that is redrawn a few times a second."""

    def __init__(self, picture: Picture, console: Console | None = None) -> None:
        self._picture = picture
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False, redirect_stdout=False)
        self._begun = time.monotonic()
        self._drawn = 0.0

    def begin(self) -> None:
        """Draw for the first time."""
        self._live.start()
        self._draw((), {})

    def show(self, _: Sequence[Change], transfers: Sequence[Transfer], holds: Mapping[str, str], /) -> None:
        """Draw again, when the last time is long enough ago."""
        if time.monotonic() - self._drawn >= _REDRAW_S:
            self._draw(transfers, holds)

    def end(self) -> None:
        """Draw the last state and leave it standing."""
        try:
            self._draw((), {})
        finally:
            self._live.stop()

    def _draw(self, transfers: Sequence[Transfer], holds: Mapping[str, str]) -> None:
        self._drawn = time.monotonic()
        self._live.update(self.render(transfers, holds), refresh=True)

    def render(self, transfers: Sequence[Transfer], holds: Mapping[str, str]) -> RenderableType:
        """All that is shown now; cut to the height of the terminal."""
        room = max(self._console.height - len(holds) - min(len(transfers), 8) - 4, 3)
        parts: list[RenderableType] = []
        for followed in self._picture.experiments.values():
            parts += [self._title(followed), _tasks(followed, room)]
        if transfers:
            parts.append(_transfers(transfers[:8]))
        parts += [Text(hold_text(machine, reason), "yellow") for machine, reason in sorted(holds.items())]
        return Group(*parts)

    def _title(self, followed: Followed) -> Text:
        text = Text(followed.row.id, "bold")
        text.append(f"  {followed.state}", _STYLES.get(followed.state, ""))
        text.append(f"  {format_duration(time.monotonic() - self._begun)}", "dim")
        if followed.state == "scheduled" and followed.row.start_due is not None:
            text.append(f"  starts in {format_duration(max(followed.row.start_due - time.time(), 0))}")
        return text


def _tasks(followed: Followed, room: int) -> Table:
    """One line a task of the file; where they do not fit, those under way and those that failed go first."""
    groups = followed.groups
    left_out = 0
    if len(groups) > room:
        chosen = sorted(range(len(groups)), key=lambda at: (_interest(groups[at]), at))[: room - 1]
        left_out = len(groups) - len(chosen)
        groups = [groups[at] for at in sorted(chosen)]
    table = Table.grid(padding=(0, 1))
    for group in groups:
        ended = f"{group.done}/{group.total}"
        table.add_row(f"  {group.name}", ProgressBar(group.total, group.done, _BAR_COLUMNS), ended, _states(group))
    if left_out:
        table.add_row(Text(f"  and {left_out} more", "dim"))
    return table


def _interest(group: TaskGroup) -> int:
    if group.running:
        return 0
    return 1 if group.counts["failed"] else 2 if group.done < group.total else 3


def _states(group: TaskGroup) -> Text:
    text = Text()
    figures = {"running": group.running, **{state: group.counts[state] for state in _STYLES if state != "running"}}
    for state, count in figures.items():
        if count:
            text.append(f"{count} {state}  ", _STYLES[state])
    return text


def _transfers(transfers: Sequence[Transfer]) -> Table:
    table = Table.grid(padding=(0, 1))
    for transfer in transfers:
        total = transfer.bytes_total or None
        done = min(transfer.bytes_done, total) if total else 0
        table.add_row(
            Text(f"  {shown(transfer.task)}", no_wrap=True), ProgressBar(total, done, _BAR_COLUMNS),
            Text(transfer_text(transfer), "dim"),
        )  # fmt: skip
    return table
