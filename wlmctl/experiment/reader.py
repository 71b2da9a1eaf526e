"""Reading an experiment file: all its mistakes at once, or the checked experiment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO

from wlmctl.errors import InvalidFile, Mistake
from wlmctl.experiment.fields import Fields
from wlmctl.experiment.foreach import MOST_INSTANCES
from wlmctl.experiment.header import Header, read_header
from wlmctl.experiment.mistakes import Mistakes
from wlmctl.experiment.model import Experiment, Role, Template
from wlmctl.experiment.needs import NeedResolution, Rows
from wlmctl.experiment.roles import group_roles, read_roles
from wlmctl.experiment.source import folder_of, read_text
from wlmctl.experiment.tasks import Draft, read_tasks
from wlmctl.experiment.typecheck import SpecCheck, TypeCheck
from wlmctl.experiment.uses import UseCheck
from wlmctl.experiment.yamltree import Mapping as MappingNode
from wlmctl.experiment.yamltree import parse, without_collections
from wlmctl.graph import cycle
from wlmctl.task import TaskType


def read(
    source: str,
    *,
    name: str | None = None,
    labels: Collection[str] = (),
    params: Mapping[str, str] | None = None,
    machines: Collection[str] | None = None,
    counters: Mapping[str, int] | None = None,
    task_type: Callable[[str], TaskType],
    check: SpecCheck | None = None,
    stdin: BinaryIO | None = None,
    cwd: Path | None = None,
) -> Experiment:
    """The experiment of the file ``source`` (``-``: standard input), checked; ``InvalidFile`` with every mistake.

    ``name``, ``labels`` and ``params`` come from the command line; ``machines`` are the names of the inventory, as a
    mapping to each ``Machine`` also its groups, and ``counters`` what there is of each (None: not checked);
    ``task_type`` looks a type up and raises a ``PluginError`` for one that cannot be used; ``check`` looks at specs.
    """
    text = read_text(source, stdin, cwd)
    with without_collections():
        folder = folder_of(source, cwd)
        return _read(text, source, name, labels, params or {}, machines, counters, task_type, check, folder)


def _read(
    text: str,
    source: str,
    name: str | None,
    labels: Collection[str],
    params: Mapping[str, str],
    machines: Collection[str] | None,
    counters: Mapping[str, int] | None,
    task_type: Callable[[str], TaskType],
    check: SpecCheck | None,
    folder: str,
) -> Experiment:
    root = parse(text, source)
    if not isinstance(root, MappingNode):
        found = "is empty" if root is None else f"found {root.kind}"
        raise InvalidFile([Mistake(source, None if root is None else root.line, "", found, "name: and tasks:")])
    mistakes = Mistakes(source)
    fields = Fields(root, "", mistakes)
    header = read_header(fields, name, labels, params)
    groups = group_roles(machines)
    roles = read_roles(fields, machines, groups)
    drafts = read_tasks(fields, header.params, folder, MOST_INSTANCES)
    templates = _templates(drafts, mistakes)
    types = TypeCheck(task_type, {**groups, **roles}, machines, folder, mistakes, counters, check)
    for draft, template in zip(drafts.values(), templates, strict=True):
        types.check(draft, template)
    mistakes.raise_if_any()
    roles |= {name: role for name, role in groups.items() if name in types.roles and name not in roles}
    return _experiment(header, roles, templates, types.files, folder)


def _templates(drafts: Mapping[str, Draft], mistakes: Mistakes) -> list[Template]:
    """The drafts with their edges; cycles, and run-time values that cannot be had, are noted."""
    resolution = NeedResolution({name: Rows(draft.keys, draft.rows) for name, draft in drafts.items()}, mistakes)
    templates = [
        Template(
            draft.name,
            draft.type or "",
            draft.text,
            draft.common,
            draft.keys or (),
            draft.rows,
            resolution.resolve(draft.name, draft.needs),
            draft.may_fail,
        )
        for draft in drafts.values()
    ]
    path = cycle(templates)
    if path is not None:
        drafts[path[0]].fields.wrong("needs", f"a cycle: {' needs '.join(path)}", "needs without a cycle")
    uses = UseCheck(drafts, None if path else templates, resolution, mistakes)
    for draft in drafts.values():
        uses.check(draft)
    return templates


def _experiment(
    header: Header, roles: Mapping[str, Role], templates: list[Template], files: Mapping[str, bytes], folder: str
) -> Experiment:
    return Experiment(
        name=header.name,
        templates=tuple(templates),
        roles=roles,
        project=header.project,
        labels=header.labels,
        priority=header.priority,
        start=header.start,
        start_after_s=header.start_after_s,
        deadline=header.deadline,
        deadline_after_s=header.deadline_after_s,
        max_running=header.max_running,
        on_failure=header.on_failure,
        clean=header.clean,
        params=header.params,
        files=files,
        folder=folder,
        schedule=header.schedule,
    )
