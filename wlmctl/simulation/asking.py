"""A scheduler asked outside a live run: whatever it does wrong is an error that names it."""

from __future__ import annotations

from dataclasses import replace

from wlmctl.errors import PluginError, WlmctlError
from wlmctl.role_classes import decide
from wlmctl.scheduler import Decision, Scheduler, Snapshot


def decided(name: str, scheduler: Scheduler, snapshot: Snapshot, where: str) -> Decision:
    """What the scheduler ``name`` decides, its assignments listed; ``PluginError`` where it does not."""
    try:
        decision = decide(scheduler, snapshot)
        if not isinstance(decision, Decision):
            raise TypeError(f"it answered {type(decision).__name__}, expected Decision")
        return replace(decision, assignments=list(decision.assignments))
    except WlmctlError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise PluginError(f"scheduler {name} fails {where}: {type(error).__name__}: {text}") from error
