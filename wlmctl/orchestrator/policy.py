"""The scheduler's answer as it may be acted on: checked, and fifo's where there is none that is worth anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wlmctl import plugins
from wlmctl.orchestrator.checking import Checked, Complaint
from wlmctl.orchestrator.placing import Placement
from wlmctl.orchestrator.watched import Watched
from wlmctl.recording import Recorder
from wlmctl.scheduler import Scheduler, Snapshot

#: The built-in scheduler that decides where another one does not.
FIFO = "fifo"


class Policy:
    """The deployment's scheduler, contained: whatever it does, there is a decision, and what was wrong is named."""

    def __init__(
        self,
        scheduler: Scheduler,
        name: str = "",
        options: Mapping[str, Any] | None = None,
        recorder: Recorder | None = None,
        limit_s: float | None = None,
    ) -> None:
        self._recorder = recorder
        self._watched = Watched(scheduler, limit_s)
        # whom all others are replaced by needs no watching, and two threads take longer than one
        self._scheduler: Scheduler = scheduler if name == FIFO else self._watched
        if recorder is not None:
            self._scheduler = recorder.of(name, options or {}, self._scheduler)
        self._fifo: Scheduler | None = None

    def decide(
        self, placement: Placement, snapshot: Snapshot, while_waiting: Callable[[], object] = lambda: None
    ) -> Checked:
        """The scheduler's decision; where it throws, hangs, or nothing of what it wants is legal, fifo's instead.

        ``while_waiting`` is called each second of a long decision; what it raises is raised.
        """
        self._watched.while_waiting = while_waiting
        try:
            checked = placement.ask(self._scheduler, snapshot)
        except Exception as error:  # a policy may throw anything
            if error is self._watched.interruption:
                raise
            checked = Checked(complaints=[Complaint(type(error).__name__, _told(error))])
        if checked.complaints and not (checked.placed or checked.bindings):
            complaints = [Complaint(each.kind, f"{each.text}; fifo decides instead") for each in checked.complaints]
            checked = placement.ask(self._instead(), snapshot)
            checked.complaints = complaints
        return checked

    def _instead(self) -> Scheduler:
        if self._fifo is None:
            fifo = plugins.scheduler_factory(FIFO)({})
            self._fifo = self._recorder.of(FIFO, {}, fifo) if self._recorder else fifo
        return self._fifo


def _told(error: Exception) -> str:
    """The error's kind and text."""
    try:
        text = str(error)
    except Exception:  # its text may be as broken as the rest
        text = "it cannot say what"
    return f"{type(error).__name__}: {text}"
