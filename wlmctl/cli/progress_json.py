"""Progress for scripts: one object a line on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wlmctl.cli.common import write_line
from wlmctl.cli.events import as_json
from wlmctl.cli.progress_picture import Change, Followed, Picture

if TYPE_CHECKING:
    from wlmctl.runtime.foreground import Transfer


class JsonLines:
    """One object a line on stdout: ``begin``, each event as ``wlmctl events`` has it, at last ``end``."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def begin(self) -> None:
        """Say which experiments are worked on."""
        for followed in self._picture.experiments.values():
            tasks = {"task_count": followed.row.task_count}
            write_line(_line("begin", followed, **tasks))

    def show(self, changes: Sequence[Change], _transfers: Sequence[Transfer], _holds: Mapping[str, str], /) -> None:
        """Write each event."""
        for change in changes:
            event = change.event
            name = None if event.task is None else self._picture.task_name(event.exp, event.task)
            write_line(as_json(change.experiment.row.id, name, event))

    def end(self) -> None:
        """Write the state at the end."""
        for followed in self._picture.experiments.values():
            write_line(_line("end", followed))


def _line(kind: str, followed: Followed, **figures: int) -> dict[str, Any]:
    return {"version": 1, "experiment": followed.row.id, "kind": kind, "state": followed.state, **figures}
