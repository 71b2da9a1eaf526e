"""What an experiment file means once it has been read and checked: the values that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from wlmctl.machine import Requirement
from wlmctl.task import Resources

#: Names of priority levels; 0-9 are accepted too, 9 goes first.
PRIORITIES: Mapping[str, int] = {"low": 2, "normal": 4, "high": 6, "urgent": 8}


@dataclass(frozen=True, slots=True)
class Role:
    """A name that stands for a machine: fixed, or a requirement bound once (or once for each value of ``each``)."""

    name: str
    machine: str | None = None
    requires: Requirement | None = None
    each: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """One edge of the graph, between templates: all instances, the partner with the same position, or one instance."""

    task: str
    how: Literal["succeeded", "ended"] = "succeeded"
    which: Literal["all", "same"] | int = "all"


@dataclass(frozen=True, slots=True)
class Times:
    """So many times what the failed attempt had."""

    factor: float


#: What the next attempt asks for, by field of ``Resources``: a value, or a multiple of what the failed one had.
Raise = Mapping[str, int | float | Times]


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is followed by another one: at most ``limit`` further attempts.

    ``raises``: by failure class, what the attempt after such a failure asks for.
    """

    limit: int = 0
    delay_s: float = 10.0
    backoff: float = 2.0
    on: tuple[str, ...] = ("user", "time", "memory")
    raises: Mapping[str, Raise] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Template:
    """A task of the file. Its instances are numbered from 0, one for each of ``rows`` (one, empty, without foreach).

    ``text`` holds the task type's own keys, ``common`` those of the core that may differ between instances
    (``resources``, ``retry``, ``timeout``, ``worker``). Params are already put in; a ``foreach`` key or run-time
    value stands as its name between two reserved characters (``wlmctl.spec``): ``Instances`` puts the values in.
    """

    name: str
    type: str
    text: Mapping[str, Any]
    common: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ((),)
    needs: tuple[Need, ...] = ()
    may_fail: bool = False

    def instance_name(self, position: int) -> str:
        """``simulate``, ``simulate[1]`` or ``simulate[300,1]``; what is not plain is shown as ``@<position>``."""
        from wlmctl.experiment.names import instance_name

        return instance_name(self.name, self.rows[position], position)


@dataclass(frozen=True, slots=True)
class Instance:
    """What one task (a template's instance) asks for, with its foreach values put in."""

    text: Mapping[str, Any]
    roles: tuple[str, ...]
    resources: Resources
    retry: Retry | None
    timeout_s: float | None
    worker_labels: tuple[str, ...]
    #: What it takes of the counters that all machines share, by name in their order.
    counters: tuple[tuple[str, int], ...] = ()

    def asking(self, asked: Mapping[str, Any]) -> Instance:
        """The same with these fields of its resources: what a retry has made of them."""
        return replace(self, resources=replace(self.resources, **asked))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the experiments of a series are due: ``cron`` as it was written, on the wall clock of ``timezone``.

    ``catchup``: due times that nobody could keep are made up for. ``overlap`` says what becomes of a due time while
    an earlier experiment of the series goes on.
    """

    cron: str
    timezone: str = "UTC"
    catchup: bool = False
    overlap: Literal["skip", "queue", "allow"] = "skip"


@dataclass(frozen=True, slots=True)
class Experiment:
    """A checked experiment; at most one of ``start`` (RFC 3339) and ``start_after_s`` (from the submit) is set.

    With a ``schedule`` it is the pattern of a series, which begins at the start.
    """

    name: str
    templates: tuple[Template, ...]
    roles: Mapping[str, Role] = field(default_factory=dict)
    project: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 4
    start: str | None = None
    start_after_s: float | None = None
    max_running: int | None = None
    on_failure: Literal["continue", "stop"] = "continue"
    clean: Literal["never", "succeeded", "always"] = "never"
    params: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    folder: str = ""
    schedule: Schedule | None = None
    #: When it is to be done: a time (RFC 3339), or so long after its start.
    deadline: str | None = None
    deadline_after_s: float | None = None

    def deadline_s(self, start_s: float) -> float | None:
        """The deadline in seconds since the epoch, where there is one; ``start_s`` is the start, or the submit."""
        if self.deadline is not None:
            from datetime import datetime

            return datetime.fromisoformat(self.deadline).timestamp()
        return None if self.deadline_after_s is None else start_s + self.deadline_after_s

    @property
    def task_count(self) -> int:
        """How many tasks (instances) there are."""
        return sum(len(template.rows) for template in self.templates)
