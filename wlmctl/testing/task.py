"""The contract suite for task types, and a context whose machines are folders of this host."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wlmctl.errors import Cancelled, SpecError
from wlmctl.machine import LOCAL, Machine
from wlmctl.spec import PLACEHOLDER_BEGIN, PLACEHOLDER_END
from wlmctl.task import Done, Resources, TaskType

if TYPE_CHECKING:
    from wlmctl.batch import BatchSystem
    from wlmctl.transport import Transport

#: A run-time value as it stands until it is known.
PLACEHOLDER = f"{PLACEHOLDER_BEGIN}tasks.other.outputs.value{PLACEHOLDER_END}"


def open_folder(machine: Machine) -> Transport:
    """The transport of this host, whatever the machine's own would be."""
    from wlmctl.plugins import transport_factory

    return transport_factory(LOCAL)(dataclasses.replace(machine, host=None, transport=LOCAL), {})


class FakeContext:
    """A ``TaskContext`` below one folder: ``<folder>/<role>/{experiment,scratch}`` stand for each role's machine.

    Other machines, reached by ``open_transport``, can be given by role, with their experiment's folder and scratch.
    ``figures`` keeps what was told as progress. ``cancel()`` makes the next check raise, ``cancel_at=n`` the n-th.
    """

    def __init__(
        self,
        folder: Path,
        *,
        machines: Mapping[str, Machine] | None = None,
        folders: Mapping[str, str] | None = None,
        open_transport: Callable[[Machine], Transport] = open_folder,
        files: Mapping[str, bytes] | None = None,
        task: str = "task",
        attempt: int = 1,
        execution: str = "e1",
        resources: Resources | None = None,
        devices: Sequence[int] = (),
        cancel_at: int | None = None,
    ) -> None:
        self.experiment, self.task, self.attempt, self.execution = "fake-abc234", task, attempt, execution
        self.token = f"fake{abs(hash((str(folder), task, attempt))):x}"
        self.resources, self.devices = resources or Resources(), devices
        self.figures: list[Mapping[str, float | int | str]] = []
        self.transfers: list[tuple[tuple[str, ...], int, int]] = []
        self.checks = 0
        self.cancel_at = cancel_at
        self._folder, self._open = folder, open_transport
        self._machines, self._folders, self._files = dict(machines or {}), dict(folders or {}), dict(files or {})
        self._is_cancelled = threading.Event()

    def machine(self, role: str) -> Machine:
        """The machine given for the role, else one that is a folder; only ``local`` is this host by name."""
        if role not in self._machines:
            host = None if role == LOCAL else f"{role}.invalid"
            self._machines[role] = Machine(role, host=host, transport=LOCAL, shell="sh", cpus=2, memory_bytes=1 << 30)
        return self._machines[role]

    @contextmanager
    def transport(self, role: str, *, after_cancel: bool = False) -> Iterator[Transport]:
        """A new connection each time; as a pool does it, not for a cancelled task unless it clears up."""
        if self._is_cancelled.is_set() and not after_cancel:
            raise Cancelled(f"{self.experiment}: {self.task} was cancelled")
        with self._open(self.machine(role)) as transport:
            yield transport

    @contextmanager
    def transfer(self, roles: Sequence[str], size_bytes: int, files: int) -> Iterator[Callable[[int], None]]:
        """Leave at once, and no limit; ``transfers`` keeps what was asked for."""
        self.transfers.append((tuple(roles), size_bytes, files))
        yield lambda _: None

    def batch(self, role: str) -> BatchSystem:
        """The machine's batch system."""
        from wlmctl.plugins import batch_factory

        machine = self.machine(role)
        return batch_factory(machine.batch)(machine, machine.batch_options)

    def folder(self, role: str) -> str:
        """The experiment's folder."""
        return self._below(role, "experiment")

    def scratch(self, role: str) -> str:
        """The scratch folder."""
        return self._below(role, "scratch")

    def private_folder(self, role: str) -> str:
        """The attempt's own folder, below the scratch."""
        return f"{self.scratch(role)}/{self.experiment}/.wlmctl/{self.task}/{self.attempt}"

    def contents(self, name: str) -> bytes:
        """The content given for the name."""
        return self._files[name]

    def progress(self, **figures: float | int | str) -> None:
        """Keep what is told."""
        self.figures.append(figures)

    def cancel(self) -> None:
        """Make the next check raise ``Cancelled``."""
        self._is_cancelled.set()

    def check_cancelled(self) -> None:
        """Raise when it was cancelled."""
        self.checks += 1
        if self._is_cancelled.is_set() or self.checks == self.cancel_at:
            self._is_cancelled.set()
            raise Cancelled(f"{self.experiment}: {self.task} was cancelled")

    def again(self, execution: str) -> FakeContext:
        """The same attempt, executed once more."""
        other = FakeContext(
            self._folder,
            machines=self._machines,
            folders=self._folders,
            open_transport=self._open,
            files=self._files,
            task=self.task,
            attempt=self.attempt,
            execution=execution,
            resources=self.resources,
            devices=self.devices,
        )
        other.token = self.token
        return other

    def _below(self, role: str, name: str) -> str:
        given = self._folders.get(role)
        folder = Path(given) if given is not None else self._folder / role
        if given is None:
            (folder / name).mkdir(parents=True, exist_ok=True)
        return f"{folder}/{name}"


class TaskTypeContract:
    """What every task type keeps.

    A subclass gives the fixtures ``task_type``, ``mapping`` (a valid task's own keys) and ``context`` (where
    ``execute`` succeeds); ``text_keys`` names keys whose value may hold a run-time value.
    """

    text_keys: Sequence[str] = ()

    def test_parse_gives_a_frozen_dataclass_that_depends_on_the_text_alone(
        self, task_type: TaskType, mapping: Mapping[str, Any], tmp_path: Path
    ) -> None:
        spec = task_type.parse(mapping, tmp_path)
        assert dataclasses.is_dataclass(spec)
        assert type(spec).__dataclass_params__.frozen  # type: ignore[union-attr]
        assert spec == task_type.parse(dict(mapping), tmp_path)

    def test_an_unknown_key_is_named(self, task_type: TaskType, mapping: Mapping[str, Any], tmp_path: Path) -> None:
        with pytest.raises(SpecError) as raised:
            task_type.parse({**mapping, "no_such_key_": 1}, tmp_path)
        assert raised.value.key == "no_such_key_"
        assert raised.value.expected

    def test_a_value_of_the_wrong_kind_is_named_by_its_key(
        self, task_type: TaskType, mapping: Mapping[str, Any], tmp_path: Path
    ) -> None:
        for key in mapping:
            with pytest.raises(SpecError) as raised:
                task_type.parse({**mapping, key: object()}, tmp_path)
            assert raised.value.key.split(".")[0].split("[")[0] == key
            assert "\n" not in str(raised.value)

    def test_a_run_time_value_is_accepted_where_text_is(
        self, task_type: TaskType, mapping: Mapping[str, Any], tmp_path: Path
    ) -> None:
        for key in self.text_keys:
            value = mapping[key]
            replaced = [*value[:-1], value[-1] + PLACEHOLDER] if isinstance(value, list) else value + PLACEHOLDER
            task_type.parse({**mapping, key: replaced}, tmp_path)

    def test_machines_names_each_role_once(
        self, task_type: TaskType, mapping: Mapping[str, Any], tmp_path: Path
    ) -> None:
        roles = list(task_type.machines(task_type.parse(mapping, tmp_path)))
        assert roles
        assert len(roles) == len(set(roles))
        assert all(isinstance(role, str) and role for role in roles)

    def test_an_execution_that_is_cancelled_before_it_begins_does_nothing(
        self, task_type: TaskType, mapping: Mapping[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        context.cancel()
        with pytest.raises(Cancelled):
            task_type.execute(task_type.parse(mapping, tmp_path), context)

    def test_a_second_execution_comes_to_the_same_end(
        self, task_type: TaskType, mapping: Mapping[str, Any], context: FakeContext, tmp_path: Path
    ) -> None:
        spec = task_type.parse(mapping, tmp_path)
        first = task_type.execute(spec, context)
        second = task_type.execute(spec, context.again("e2"))
        assert type(first) is type(second)
        if isinstance(first, Done) and isinstance(second, Done):
            assert (first.outputs, first.exit_code, first.folder) == (second.outputs, second.exit_code, second.folder)
        else:
            assert first == second
