"""Staging: a plan, then the copy that carries it out. Repeated, it copies again and comes to the same end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wlmctl import transfer
from wlmctl.errors import Broken, BrokenOff, TaskFailed, Unreachable
from wlmctl.planning import Finding, PlanContext
from wlmctl.task import Done
from wlmctl.task_context import TaskContext
from wlmctl.transfer import Endpoint, Place, Progress, Source, Spot
from wlmctl_task_stage.spec import SCHEMA, StageSpec, parse

_TELL_EACH_S = 0.2


class Stage:
    """The task type ``stage``."""

    moves_data = True

    def schema(self) -> Mapping[str, Any]:
        """The task's own keys as JSON Schema."""
        return SCHEMA

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> StageSpec:  # noqa: ARG002 - endpoints name their machine
        """The task's own keys."""
        return parse(mapping)

    def machines(self, spec: StageSpec) -> Sequence[str]:
        """The role of the target, then those of the sources."""
        return list(dict.fromkeys([spec.to.role, *(source.role for source in spec.sources)]))

    def plan(self, spec: StageSpec, context: PlanContext) -> Sequence[Finding]:
        """What would be copied."""
        from wlmctl_task_stage.plan import plan

        return list(plan(spec, context))

    def execute(self, spec: StageSpec, context: TaskContext) -> Done:
        """Copy; all or nothing for a new folder, file by file into one that exists."""
        sources = [Source(_place(context, each.role), _spot(context, each)) for each in spec.sources]
        to, target = _place(context, spec.to.role), _spot(context, spec.to)
        context.check_cancelled()
        if spec.to.is_relative and not to.is_local:
            with to.lease() as transport:
                transport.makedirs(context.folder(spec.to.role), 0o700)
        plan = transfer.plan(
            sources,
            to,
            target,
            symlinks=spec.symlinks,
            exclude=spec.exclude,
            check=context.check_cancelled,
            execution=context.execution,
        )
        roles = [spec.to.role, *dict.fromkeys(source.role for source in spec.sources)]
        with context.transfer(roles, plan.size_bytes, plan.files) as pace:
            summary = transfer.copy(
                plan,
                verify=spec.verify,
                execution=context.execution,
                progress=_Told(context),
                check=context.check_cancelled,
                pace=pace,
                keeps=(Broken, Unreachable, BrokenOff),
                cache=f"{context.scratch(spec.to.role)}/cache" if spec.cache else None,
            )
        outputs = {"bytes": str(summary.size_bytes), "files": str(summary.files)}
        return Done(outputs=outputs, stdout=f"{summary.told()}\n".encode())


class _Told:
    """Progress to the context, a few times a second: chunks pass far more often."""

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._last_s = 0.0

    def __call__(self, now: Progress) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < _TELL_EACH_S and now.files_done < now.files_total:
            return
        self._last_s = now_s
        self._context.progress(
            bytes_done=now.bytes_done,
            bytes_total=now.bytes_total,
            files_done=now.files_done,
            files_total=now.files_total,
            sent_bytes=now.sent_bytes,
            resumed_bytes=now.resumed_bytes,
            skipped=now.skipped + now.reused,
            what="copying",
        )


def _place(context: TaskContext, role: str) -> Place:
    machine = context.machine(role)
    clearing = partial(context.transport, role, after_cancel=True)
    return Place(role, machine.name, partial(context.transport, role), machine.is_local, clearing)


def _spot(context: TaskContext, endpoint: Endpoint) -> Spot:
    folder = home = ""
    if endpoint.is_relative:
        folder = context.folder(endpoint.role)  # only here: a machine that is only read from may have no scratch
    elif endpoint.path.startswith("~"):
        with context.transport(endpoint.role) as transport:
            home = transport.home()
    try:
        return transfer.located(endpoint, folder, home, may_leave=context.machine(endpoint.role).is_local)
    except ValueError as error:
        raise TaskFailed(f"{endpoint.role}: {error}") from None
