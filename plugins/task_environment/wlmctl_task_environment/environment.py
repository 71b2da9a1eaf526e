"""The task type: what is made in the experiment's folder each time, and what is built once for a digest."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from wlmctl.errors import TaskFailed
from wlmctl.planning import Finding, PlanContext
from wlmctl.task import Done
from wlmctl.task_context import TaskContext
from wlmctl.transfer import Endpoint, Place, located, put_content
from wlmctl.transport import Runs, Transport
from wlmctl_task_environment.build import Build
from wlmctl_task_environment.spec import SCHEMA, EnvironmentFile, EnvironmentSpec, digest, is_inside, parse


class Environment:
    """The task type ``environment``."""

    def schema(self) -> Mapping[str, Any]:
        """The task's own keys as JSON Schema."""
        return SCHEMA

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> EnvironmentSpec:  # noqa: ARG002 - nothing is read here
        """The task's own keys."""
        return parse(mapping)

    def machines(self, spec: EnvironmentSpec) -> Sequence[str]:
        """The one role."""
        return [spec.machine]

    def files(self, spec: EnvironmentSpec) -> Sequence[str]:
        """The files to read at submit."""
        return list(dict.fromkeys(file.source for file in spec.files if file.source is not None))

    def plan(self, spec: EnvironmentSpec, context: PlanContext) -> Sequence[Finding]:
        """What would be made, and whether its commands have run already."""
        from wlmctl_task_environment.plan import plan

        return list(plan(spec, context))

    def execute(self, spec: EnvironmentSpec, context: TaskContext) -> Done:
        """Make what is missing; run the commands unless they have run to their end for the same digest."""
        machine = context.machine(spec.machine)
        place = Place(
            spec.machine,
            machine.name,
            partial(context.transport, spec.machine),
            machine.is_local,
            partial(context.transport, spec.machine, after_cancel=True),
        )
        folder = context.folder(spec.machine)
        content = partial(_content, context)
        context.check_cancelled()
        with place.lease() as transport:
            # before anything is written: what cannot be done is not begun
            if spec.is_built and not isinstance(transport, Runs):
                raise TaskFailed(
                    f"{spec.machine}: commands and modules need a shell, and the machine {machine.name} has none: "
                    "leave them out, or take a machine with a shell"
                )
            if not machine.is_local:
                with place.told(folder):
                    transport.makedirs(folder, 0o700)
            home = transport.home()
            at = partial(_path, spec.machine, folder, home, may_leave=machine.is_local)
            for directory in spec.directories:
                context.check_cancelled()
                _make_folder(place, transport, at(directory))
            for file in spec.files:
                put_content(
                    place,
                    transport,
                    at(file.path),
                    content(file),
                    file.mode,
                    execution=context.execution,
                    check=context.check_cancelled,
                )
        if not spec.is_built:
            return Done(folder=folder)
        name = digest(spec, content, machine.preamble)
        build = Build(context, place, machine, name, spec.commands, has_modules=bool(spec.modules))
        with place.lease() as transport:
            if build.is_whole(transport):
                return Done(exit_code=0, stdout=b"already built\n", folder=build.folder)
            _make_folder(place, transport, build.inputs)
            for directory in filter(is_inside, spec.directories):
                _make_folder(place, transport, posixpath.join(build.inputs, directory))
            for file in spec.built_files:
                put_content(
                    place,
                    transport,
                    posixpath.join(build.inputs, posixpath.normpath(file.path)),
                    content(file),
                    file.mode,
                    execution=context.execution,
                    check=context.check_cancelled,
                )
        return build.carry_out()


def _content(context: TaskContext, file: EnvironmentFile) -> bytes:
    if file.content is not None:
        return file.content.encode("utf-8", "surrogateescape")
    assert file.source is not None  # parse takes one of the two
    return context.contents(file.source)


def _make_folder(place: Place, transport: Transport, path: str) -> None:
    with place.told(path):
        there = transport.stat(path, follow=True)
        if there is not None and there.kind != "directory":
            raise TaskFailed(f"{place.shown(path)}: is a file, where a folder should go")
        if there is None:
            transport.makedirs(path)


def _path(role: str, folder: str, home: str, text: str, *, may_leave: bool) -> str:
    try:
        return located(Endpoint(role, text), folder, home, may_leave=may_leave).path
    except ValueError as error:
        raise TaskFailed(f"{role}: {error}") from None
