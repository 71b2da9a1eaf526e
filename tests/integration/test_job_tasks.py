"""The task type ``job`` from ``execute`` to its outputs, on this host and over SSH."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from wlmctl_task_job.job import JobType

from tests.services.sshd import Farm
from tests.waiting import wait_until
from wlmctl.batch import BatchSystem
from wlmctl.errors import TaskFailed, Unreachable
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.task import Deferred, Done, Failed, FailureClass, Gone, PollAnswer, Resources, Running, Unknown
from wlmctl.testing.task import FakeContext
from wlmctl.transport import Transport


@dataclass
class Asking:
    """A ``PollContext``."""

    machine: Machine
    wait_s: float = 1.0
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def transport(self) -> Iterator[Transport]:
        with transport_factory(self.machine.transport)(self.machine, {}) as transport:
            yield transport

    def batch(self) -> BatchSystem:
        return batch_factory(self.machine.batch)(self.machine, {})

    def log_offsets(self, key: str) -> tuple[int, int] | None:
        return self.offsets.get(key)


@dataclass
class Place:
    """A machine for jobs, and the folder of the experiment there."""

    machine: Machine
    folder: Path

    def context(self, **fields: Any) -> FakeContext:
        role = self.machine.name
        return FakeContext(
            self.folder,
            machines={role: self.machine},
            open_transport=lambda machine: transport_factory(machine.transport)(machine, {}),
            **fields,
        )

    def execute(self, mapping: Mapping[str, Any], **fields: Any) -> Mapping[str, Any]:
        job = JobType()
        spec = job.parse({"machine": self.machine.name, **mapping}, self.folder)
        deferred = job.execute(spec, self.context(**fields))
        assert isinstance(deferred, Deferred)
        return deferred.handle

    def end(self, handle: Mapping[str, Any]) -> PollAnswer:
        def ended() -> list[PollAnswer]:
            answer = JobType().poll({"it": handle}, Asking(self.machine))["it"]
            return [] if isinstance(answer, Running | Unknown) else [answer]

        return wait_until(ended, "the job ends")[0]

    def path(self, name: str) -> Path:
        return self.folder / self.machine.name / "experiment" / name


@pytest.fixture(params=["local", "alpha"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "local":
        return Place(Machine("local", transport="local", gpus=4, kill_grace_s=1), tmp_path)
    farm: Farm = request.getfixturevalue("farm")
    inventory = farm.write_inventory(tmp_path / "inventory")
    for name, value in inventory.env.items():
        monkeypatch.setenv(name, value)
    return Place(Machine("alpha", host="alpha", gpus=4, kill_grace_s=1), tmp_path)


def test_a_job_runs_in_its_folder_and_hands_on_its_outputs(place: Place) -> None:
    script = 'echo \'{"runs": [{"e": -1.50}]}\' > out.json; echo "  $1 done " > note'
    handle = place.execute(
        {
            "directory": "deep/work",
            "command": ["sh", "-c", script, "sh", "it's"],
            "outputs": {"energy": {"file": "out.json", "json": "$.runs[0].e"}, "note": {"file": "note"}},
        }
    )
    answer = place.end(handle)
    assert isinstance(answer, Done), answer
    assert answer.outputs == {"energy": "-1.50", "note": "it's done"}
    assert place.path("deep/work/out.json").exists()


def test_the_job_sees_its_names_its_folder_and_its_devices(place: Place) -> None:
    script = 'echo "$WLMCTL_EXPERIMENT,$WLMCTL_TASK,$WLMCTL_ATTEMPT,$WLMCTL_FOLDER,$CUDA_VISIBLE_DEVICES"; pwd'
    answer = place.end(place.execute({"command": script}, task="sim[300,1]", attempt=2, devices=(1, 2)))
    assert isinstance(answer, Done), answer
    folder = place.path("")
    assert answer.stdout.decode().split("\n")[:2] == [f"fake-abc234,sim[300,1],2,{folder},1,2", str(folder)]


def test_a_missing_output_fails_the_task_and_names_the_file(place: Place) -> None:
    answer = place.end(place.execute({"command": "true", "outputs": {"energy": {"file": "out.json"}}}))
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass.USER
    assert (
        answer.reason
        == f"outputs.energy: {place.path('out.json')}: there is no such file; the job was expected to write it"
    )


def test_a_program_that_is_refused_memory_fails_with_that_class(place: Place) -> None:
    answer = place.end(place.execute({"command": "ulimit -v 200000; python3 -c 'eaten = bytearray(400 << 20)'"}))
    assert isinstance(answer, Failed)
    assert (answer.failure_class, answer.reason) == (FailureClass.MEMORY, "exit code 1: MemoryError")


def test_executing_again_gives_the_same_handle_and_starts_nothing(place: Place) -> None:
    command = {"command": "echo ran >> ran; while ! [ -e go ]; do sleep 0.05; done"}
    first = place.execute(command)
    wait_until(lambda: place.path("ran").exists(), "the job runs")
    assert place.execute(command) == first
    place.path("go").touch()
    assert isinstance(place.end(first), Done)
    assert isinstance(place.end(place.execute(command)), Done)
    assert place.path("ran").read_text() == "ran\n"


def test_a_cancel_is_proven(place: Place) -> None:
    handle = place.execute({"command": "echo ran > ran; sleep 60"})
    wait_until(lambda: place.path("ran").exists(), "the job runs")
    asking = Asking(place.machine)
    answer = wait_until(
        lambda: [a for a in [JobType().cancel(handle, asking)] if not isinstance(a, Unknown)], "the job is gone"
    )
    assert isinstance(answer[0], Gone)


def test_an_attempt_that_may_not_have_started_is_kept_from_starting(place: Place) -> None:
    job = JobType()
    spec = job.parse({"machine": place.machine.name, "command": "touch ran"}, place.folder)
    handle = job.handle(spec, place.context())
    assert isinstance(job.cancel(handle, Asking(place.machine)), Gone)
    late = job.execute(spec, place.context())
    assert isinstance(place.end(late.handle), Gone)
    assert not place.path("ran").exists()


def test_new_output_is_brought_while_the_job_runs(place: Place) -> None:
    handle = place.execute({"command": "echo one; echo two; touch ran; while ! [ -e go ]; do sleep 0.05; done"})
    wait_until(lambda: place.path("ran").exists(), "the job runs")
    answer = JobType().poll({"it": handle}, Asking(place.machine, offsets={"it": (4, 0)}))["it"]
    assert isinstance(answer, Running)
    assert (answer.stdout, answer.stderr) == (b"two\n", b"")
    place.path("go").touch()
    assert isinstance(place.end(handle), Done)


def test_the_walltime_counts_as_time(place: Place) -> None:
    answer = place.end(place.execute({"command": "sleep 60"}, resources=Resources(walltime_s=1)))
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass.TIME


def test_an_option_of_the_batch_system_that_it_does_not_know_is_named(place: Place) -> None:
    with pytest.raises(TaskFailed, match=r"batch\.shell\.partition"):
        place.execute({"command": "true", "batch": {"shell": {"partition": "gpu"}, "slurm": {"partition": "gpu"}}})


def test_a_folder_that_cannot_be_made_is_named(place: Place) -> None:
    place.path("").mkdir(parents=True)
    place.path("file").touch()
    with pytest.raises(TaskFailed, match=r"directory cannot be made: .*file"):
        place.execute({"command": "true", "directory": "file/below"})


def test_the_end_of_a_local_job_is_an_event(tmp_path: Path) -> None:
    place = Place(Machine("local", transport="local"), tmp_path)
    handle = place.execute({"command": "while ! [ -e go ]; do sleep 0.01; done"})
    descriptor = JobType().watch(handle)
    assert descriptor is not None
    assert select.select([descriptor], [], [], 0)[0] == []
    place.path("go").touch()
    assert select.select([descriptor], [], [], 60)[0] == [descriptor]
    os.close(descriptor)
    assert isinstance(JobType().poll({"it": handle}, Asking(place.machine, wait_s=0))["it"], Done)
    ended = JobType().watch(handle)
    assert ended is not None
    assert select.select([ended], [], [], 0)[0] == [ended]
    os.close(ended)


def test_a_job_of_another_machine_is_not_watched(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLMCTL_SSH_CONFIG", farm.write_inventory(tmp_path / "inventory").env["WLMCTL_SSH_CONFIG"])
    place = Place(Machine("alpha", host="alpha"), tmp_path)
    handle = place.execute({"command": "true"})
    assert JobType().watch(handle) is None
    assert isinstance(place.end(handle), Done)


def test_outputs_that_cannot_be_read_now_are_asked_for_again(tmp_path: Path) -> None:
    place = Place(Machine("local", transport="local"), tmp_path)
    handle = place.execute({"command": "echo x > out", "outputs": {"x": {"file": "out"}}})
    assert isinstance(place.end(handle), Done)

    class Away(Asking):
        @contextmanager
        def transport(self) -> Iterator[Transport]:
            with super().transport() as transport:

                def read(path: str, offset: int = 0) -> Iterator[bytes]:
                    raise Unreachable("the machine went away")

                transport.read = read  # type: ignore[method-assign]
                yield transport

    answer = JobType().poll({"it": handle}, Away(place.machine))["it"]
    assert isinstance(answer, Unknown)
    assert "went away" in answer.reason
