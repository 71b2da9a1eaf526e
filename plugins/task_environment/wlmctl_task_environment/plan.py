"""What an ``environment`` task would do, found out without writing anything."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from wlmctl.planning import Finding, PlanContext
from wlmctl.transport import Runs
from wlmctl_task_environment.scripts import MARKER
from wlmctl_task_environment.spec import EnvironmentFile, EnvironmentSpec, digest


def plan(spec: EnvironmentSpec, context: PlanContext) -> Iterator[Finding]:
    """Whether the commands can run there, and whether they have run already."""
    machine, role = context.machine(spec.machine), spec.machine
    made = [
        _count(len(spec.directories), "folder"),
        _count(len(spec.files), "file"),
    ]
    if any(made):
        yield Finding("files", f"makes {' and '.join(filter(None, made))} in {context.folder(role)}", machine=role)
    if not spec.is_built:
        return

    def content(file: EnvironmentFile) -> bytes:
        if file.content is not None:
            return file.content.encode("utf-8", "surrogateescape")
        return context.contents(file.source or "")

    folder = posixpath.join(context.scratch(role), "environments", digest(spec, content, machine.preamble))
    with context.transport(role) as transport:
        if not isinstance(transport, Runs):
            what = "commands" if spec.commands else "modules"
            text = f"has {what}, which need a shell, and machine {machine.name} has none"
            yield Finding("shell", text, "problem", role)
        is_there = transport.stat(posixpath.join(folder, MARKER)) is not None
    modules, commands = _count(len(spec.modules), "module"), _count(len(spec.commands), "command")
    loads, runs = [f"loads {modules}"] if modules else [], [f"runs {commands}"] if commands else []
    done = f", where its {commands} ran" if commands else ""
    text = f"reuses {folder}{done}" if is_there else f"{' and '.join([*loads, *runs])} in {folder}"
    yield Finding("environment", text, machine=role, figures={"reused": is_there, "folder": folder})


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
