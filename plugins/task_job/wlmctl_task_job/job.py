"""The task type ``job``: submit, and later look, end, and read the outputs."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wlmctl.batch import BatchJob, BatchSystem, HostProcess, JobRef, StartsHere
from wlmctl.errors import Broken, Cancelled, TaskFailed, Unreachable
from wlmctl.machine import Machine
from wlmctl.task import Deferred, Done, Failed, FailureClass, PollAnswer, PollContext, TaskContext, Unknown
from wlmctl.transport import Runs, Spawns, Transport
from wlmctl_task_job.outputs import read_outputs
from wlmctl_task_job.spec import JobSpec, parse_job

log = logging.getLogger(__name__)

#: How often a submit is tried, each time by a new connection, before its attempt is given up.
SUBMIT_TRIES = 3


class JobType:
    """``TaskType``, ``Defers``, ``Prepares`` and ``Watches``; a handle is ``{"job": JobRef, "outputs": [...]}``."""

    def parse(self, mapping: Mapping[str, Any], folder: Path) -> JobSpec:  # noqa: ARG002 (a job names no local file)
        """The job's own keys."""
        return parse_job(mapping)

    def machines(self, spec: JobSpec) -> Sequence[str]:
        """The one role on which the job runs."""
        return (spec.machine,)

    def execute(self, spec: JobSpec, context: TaskContext) -> Deferred:
        """Submit the job, which does nothing where it has been submitted before."""
        broken: Broken | None = None
        for _ in range(SUBMIT_TRIES):
            try:
                return self._submit(spec, context)
            except Broken as error:  # whether it has arrived is not known: the next try finds out
                log.info("%s: its submit broke off: %s", context.task, error)
                broken = error
            except Cancelled:
                if broken is None:
                    raise
                break  # a cancel would say that nothing was started
        assert broken is not None
        raise broken

    def _submit(self, spec: JobSpec, context: TaskContext) -> Deferred:
        role = spec.machine
        with context.transport(role) as transport:
            job, outputs = _batch_job(spec, context, transport)
            context.check_cancelled()
            machine = context.machine(role)
            ref = _submit(context.batch(role), job, transport, machine)
            return Deferred(_handle(ref, outputs), started=not machine.has_queue)

    def handle(self, spec: JobSpec, context: TaskContext) -> Mapping[str, Any]:
        """The handle of the attempt, whether or not it has been submitted."""
        with context.transport(spec.machine) as transport:
            job, outputs = _batch_job(spec, context, transport)
        return _handle(context.batch(spec.machine).reference(job), outputs)

    def poll(self, handles: Mapping[str, Mapping[str, Any]], context: PollContext) -> Mapping[str, PollAnswer]:
        """How these jobs of one machine stand."""
        jobs = {key: handle["job"] for key, handle in handles.items()}
        wanted = {key: offsets for key in jobs if (offsets := context.log_offsets(key)) is not None}
        with context.transport() as transport:
            answers = _look(context.batch(), jobs, context, wanted, transport)
            return {key: _with_outputs(answers[key], handle, transport) for key, handle in handles.items()}

    def cancel(self, handle: Mapping[str, Any], context: PollContext) -> PollAnswer:
        """End the job and prove it."""
        batch = context.batch()
        with context.transport() as transport:
            command = batch.cancel(handle["job"], context.wait_s)
            completed = _runs(transport, context.machine).run(command.text, command.stdin, command.timeout_s)
            return _with_outputs(batch.cancelled(handle["job"], completed), handle, transport)

    def watch(self, handle: Mapping[str, Any]) -> int | None:
        """A descriptor that becomes readable at the end of a job that is a process of this very host."""
        process = HostProcess.from_json(handle["job"].get("process"))
        return None if process is None else process.open_end()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where relative paths of the experiment lie on a machine."""

    folder: str
    machine: Machine
    transport: Transport

    def absolute(self, path: str, base: str, key: str) -> str:
        """``path`` below ``base`` or the login folder; where there is a login, ``..`` may not leave ``folder``."""
        if path == "~" or path.startswith("~/"):
            return posixpath.normpath(self.transport.home().rstrip("/") + path[1:])
        if path.startswith("/"):
            return path
        whole = posixpath.normpath(posixpath.join(base, path))
        is_inside = whole == self.folder or whole.startswith(self.folder.rstrip("/") + "/")
        if not is_inside and not self.machine.is_local and base.startswith(self.folder):
            raise TaskFailed(f"{key}: {path!r} leaves the experiment's folder {self.folder}")
        return whole


def _batch_job(spec: JobSpec, context: TaskContext, transport: Transport) -> tuple[BatchJob, list[Any]]:
    """The job for the batch system, and its outputs as the handle carries them: key, absolute path, JSON path."""
    machine = context.machine(spec.machine)
    place = _Place(context.folder(spec.machine), machine, transport)
    directory = place.absolute(spec.directory, place.folder, "directory")
    outputs = [
        [key, place.absolute(output.file, directory, f"outputs.{key}.file"), output.json]
        for key, output in spec.outputs.items()
    ]
    job = BatchJob(
        token=context.token,
        experiment=context.experiment,
        task=context.task,
        attempt=context.attempt,
        folder=context.private_folder(spec.machine),
        directory=directory,
        script=spec.script,
        experiment_folder=place.folder,
        env=spec.env,
        resources=context.resources,
        devices=context.devices if machine.gpus and not machine.has_queue else None,
        options=spec.batch.get(machine.batch, {}),
    )
    return job, outputs


def _handle(ref: JobRef, outputs: list[Any]) -> Mapping[str, Any]:
    return {"job": ref, "outputs": outputs} if outputs else {"job": ref}


def _submit(batch: BatchSystem, job: BatchJob, transport: Transport, machine: Machine) -> JobRef:
    if isinstance(transport, Spawns) and isinstance(batch, StartsHere):
        return batch.start(job, transport)
    runs = _runs(transport, machine)
    command = batch.submit(job)
    return batch.submitted(job, runs.run(command.text, command.stdin, command.timeout_s))


def _look(
    batch: BatchSystem,
    jobs: Mapping[str, JobRef],
    context: PollContext,
    wanted: Mapping[str, tuple[int, int]],
    transport: Transport,
) -> Mapping[str, PollAnswer]:
    answers: dict[str, PollAnswer] = {}
    wait_s = context.wait_s
    if isinstance(transport, Spawns) and isinstance(batch, StartsHere):
        answers.update(batch.look(jobs, wait_s, wanted))
        wait_s = 0.0 if answers else wait_s
    rest = {key: ref for key, ref in jobs.items() if key not in answers}
    if rest:
        command = batch.poll(rest, wait_s, wanted)
        completed = _runs(transport, context.machine).run(command.text, command.stdin, command.timeout_s)
        answers.update(batch.polled(rest, completed))
    return answers


def _runs(transport: Transport, machine: Machine) -> Runs:
    if not isinstance(transport, Runs):
        raise TaskFailed(f"machine {machine.name} has no shell: jobs need one, use it for staging only")
    return transport


def _with_outputs(answer: PollAnswer, handle: Mapping[str, Any], transport: Transport) -> PollAnswer:
    """``answer`` with the job's outputs where it is ``Done``; a missing one makes it ``Failed``."""
    declared = handle.get("outputs")
    if not declared or not isinstance(answer, Done):
        return answer
    try:
        return Done(read_outputs(declared, transport), answer.exit_code, answer.stdout, answer.stderr)
    except (Unreachable, Broken) as error:
        return Unknown(f"its outputs cannot be read now: {error}")
    except TaskFailed as error:
        return Failed(error.reason, FailureClass(error.failure_class), answer.exit_code, answer.stdout, answer.stderr)
