"""What the attempt after a failure asks for, where its retry says so: at most what its machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wlmctl.errors import WlmctlError
from wlmctl.experiment.raising import differences, is_at_most, raised, told
from wlmctl.orchestrator.active import Active
from wlmctl.orchestrator.work import Work
from wlmctl.task import FailureClass

if TYPE_CHECKING:
    from wlmctl.orchestrator.fleet import Fleet


class NothingMore(WlmctlError):
    """The attempt had all that its machine has."""


def after(work: Work, active: Active, failure: FailureClass, fleet: Fleet) -> str | None:
    """Note what the next attempt asks for; the words for it, None where it is what the last one had.

    ``NothingMore`` where the machine has no more of it, and so little was to blame.
    """
    retry = work.instance(active.idx).retry
    asked = retry.raises.get(failure.value) if retry is not None else None
    if not asked:
        return None
    machine = fleet.machine(active.place) if active.place is not None and active.place in fleet else None
    had = work.instance(active.idx).resources
    is_to_blame = failure not in (FailureClass.INFRA, FailureClass.PREEMPTED)
    if machine is not None and is_to_blame and is_at_most(had, asked, machine):
        raise NothingMore(f"it had {told(had, asked)}, and machine {machine.name} has no more: no further attempt")
    now = raised(had, asked, machine)
    changed = differences(now, had)
    if not changed:
        return None
    work.asked[active.idx] = {**work.asked.get(active.idx, {}), **changed}
    return f"attempt {active.attempt + 1} asks for {told(now, changed)}, this one had {told(had, changed)}"
