"""What a ``stage`` task would copy, found out without writing anything."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from wlmctl import transfer
from wlmctl.errors import NotFound, TaskFailed
from wlmctl.planning import Finding, PlanContext
from wlmctl.quantities import format_size
from wlmctl.spec import has_placeholder
from wlmctl.transfer import Endpoint, Place, Source, Spot
from wlmctl_task_stage.spec import StageSpec


def plan(spec: StageSpec, context: PlanContext) -> Iterator[Finding]:
    """Each source with its count and bytes, and what is in the way at the target."""
    if any(has_placeholder(endpoint.path) for endpoint in (*spec.sources, spec.to)):
        yield Finding("source", "depends on values of the run", "note")
        return
    to, target = _place(context, spec.to.role), _spot(context, spec.to)
    sources, is_whole = [], True
    for endpoint in spec.sources:
        text = f"{endpoint.role}:{endpoint.path}"
        source = Source(_place(context, endpoint.role), _spot(context, endpoint))
        sources.append(source)
        earlier = context.earlier(endpoint.role)
        try:
            made = transfer.plan([source], to, target, symlinks=spec.symlinks, exclude=spec.exclude)
        except NotFound as error:
            is_whole = False
            if earlier:
                text = f"{text} is not there yet; {', '.join(earlier)} may make it"
                yield Finding("source", text, "note", endpoint.role)
            else:
                yield Finding("source", str(error), "problem", endpoint.role)
            continue
        figures = {"files": made.files, "size_bytes": made.size_bytes}
        count = f"{made.files} file{'' if made.files == 1 else 's'}, {format_size(made.size_bytes)}"
        if earlier:
            count += f", as it is now; {', '.join(earlier)} may change it"
        yield Finding("source", f"{text}: {count}", machine=endpoint.role, figures=figures)
    if is_whole and len(sources) > 1:
        transfer.plan(sources, to, target, symlinks=spec.symlinks, exclude=spec.exclude)  # two sources for one name


def _place(context: PlanContext, role: str) -> Place:
    machine = context.machine(role)
    return Place(role, machine.name, partial(context.transport, role), machine.is_local)


def _spot(context: PlanContext, endpoint: Endpoint) -> Spot:
    folder = home = ""
    if endpoint.is_relative:
        folder = context.folder(endpoint.role)
    elif endpoint.path.startswith("~"):
        with context.transport(endpoint.role) as transport:
            home = transport.home()
    try:
        return transfer.located(endpoint, folder, home, may_leave=context.machine(endpoint.role).is_local)
    except ValueError as error:
        raise TaskFailed(f"{endpoint.role}: {error}") from None
