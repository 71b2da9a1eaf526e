"""Packs: how many tasks of a group may share one job of a machine's queue, and how many jobs those under way are."""

from __future__ import annotations

from wlmctl import plugins
from wlmctl.batch import MANY
from wlmctl.orchestrator.ready import ReadyGroup
from wlmctl.orchestrator.work import Work
from wlmctl.task import Gathers


def pack_of(work: Work, group: ReadyGroup) -> int:
    """How many of the group may be one job; 1 where its task type has no packs, or cannot say."""
    if group.pack is None:
        try:
            task_type = plugins.task_type(group.type)
            template, position = work.place(group.tasks[0])
            instances = work.instances[template]
            spec = task_type.parse(instances.text(position), instances.folder)
            group.pack = min(max(1, task_type.pack(spec)), MANY) if isinstance(task_type, Gathers) else 1
        except Exception:  # a plugin may raise anything; the execution says what is wrong
            group.pack = 1
    return group.pack
