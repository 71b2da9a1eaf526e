"""The task type ``job``: submit, and later look, end, and read the outputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wlmctl.batch import BatchJob, BatchSystem, HostProcess, JobRef, StartsHere
from wlmctl.errors import Broken, TaskFailed, Unreachable
from wlmctl.jobs.talk import raise_if_away
from wlmctl.machine import Machine
from wlmctl.task import Deferred, Done, Failed, FailureClass, PollAnswer, Unknown
from wlmctl.task_context import JobContext, PollContext, TaskContext
from wlmctl.transport import Spawns, Transport
from wlmctl_task_job import together
from wlmctl_task_job.making import batch_job, handle, with_shell
from wlmctl_task_job.outputs import read_outputs
from wlmctl_task_job.spec import JobSpec, parse_job
from wlmctl_task_job.types import Value

log = logging.getLogger(__name__)

#: How often a submit is tried, each time by a new connection, before its attempt is given up.
SUBMIT_TRIES = 3


class JobType:
    """``TaskType``, ``Defers``, ``Gathers``, ``HasOptions``, ``Prepares`` and ``Watches``.

    A handle is ``{"job": JobRef, "outputs": {key: ...}}``.
    """

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
            except Exception:
                if broken is None:
                    raise
                break  # whatever it is, it would say that nothing was started
        assert broken is not None
        raise broken

    def execute_many(self, members: Sequence[tuple[JobSpec, TaskContext]]) -> Sequence[Deferred | Exception]:
        """Submit these jobs by one command, each of which does nothing where it has been submitted before."""
        return together.submit(members, SUBMIT_TRIES)

    def batch_options(self, spec: JobSpec) -> Mapping[str, Mapping[str, Any]]:
        """What the job says to the batch systems that it may come to."""
        return spec.batch

    def pack(self, spec: JobSpec) -> int:
        """How many of such jobs may share one job of the queue."""
        return spec.pack

    def _submit(self, spec: JobSpec, context: TaskContext) -> Deferred:
        role = spec.machine
        with context.transport(role) as transport:
            # point 1: connected, nothing asked
            job, outputs = batch_job(spec, context, transport)
            context.check_cancelled()
            machine = context.machine(role)
            # point 2: the command is about to run
            ref = _submit(context.batch(role), job, transport, machine)
            # point 3: answered, nothing told
            return Deferred(handle(ref, outputs), started=not machine.has_queue)

    def batch_job(self, spec: JobSpec, context: JobContext, transport: Transport) -> BatchJob:
        """The job, as ``execute`` hands it over."""
        return batch_job(spec, context, transport)[0]

    def handle(self, spec: JobSpec, context: TaskContext) -> Mapping[str, Any]:
        """The handle of the attempt, whether or not it has been submitted."""
        with context.transport(spec.machine) as transport:
            job, outputs = batch_job(spec, context, transport)
            with_shell(transport, context.machine(spec.machine))
        return handle(context.batch(spec.machine).reference(job), outputs)

    def poll(self, handles: Mapping[str, Mapping[str, Any]], context: PollContext) -> Mapping[str, PollAnswer]:
        """How these jobs of one machine stand."""
        jobs = {key: handle["job"] for key, handle in handles.items()}
        wanted = {key: offsets for key in jobs if (offsets := context.log_offsets(key)) is not None}
        with context.transport() as transport:
            answers = _look(context.batch(), jobs, context, wanted, transport)
            return _with_outputs(answers, handles, transport)

    def cancel(self, handle: Mapping[str, Any], context: PollContext) -> PollAnswer:
        """End the job and prove it."""
        batch = context.batch()
        with context.transport() as transport:
            command = batch.cancel(handle["job"], context.wait_s)
            completed = with_shell(transport, context.machine).run(command.text, command.stdin, command.timeout_s)
            return _with_outputs({"": batch.cancelled(handle["job"], completed)}, {"": handle}, transport)[""]

    def watch(self, handle: Mapping[str, Any]) -> int | None:
        """A descriptor that becomes readable at the end of a job that is a process of this very host."""
        process = HostProcess.from_json(handle["job"].get("process"))
        return None if process is None else process.open_end()


def _submit(batch: BatchSystem, job: BatchJob, transport: Transport, machine: Machine) -> JobRef:
    if isinstance(transport, Spawns) and isinstance(batch, StartsHere):
        return batch.start(job, transport)
    runs = with_shell(transport, machine)
    command = batch.submit(job)
    completed = runs.run(command.text, command.stdin, command.timeout_s)
    raise_if_away(batch, machine, completed)
    return batch.submitted(job, completed)


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
        completed = with_shell(transport, context.machine).run(command.text, command.stdin, command.timeout_s)
        raise_if_away(batch, context.machine, completed)
        answers.update(batch.polled(rest, completed))
    return answers


def _with_outputs(
    answers: Mapping[str, PollAnswer], handles: Mapping[str, Mapping[str, Any]], transport: Transport
) -> Mapping[str, PollAnswer]:
    """``answers`` with the outputs of those that are ``Done``; a missing one makes it ``Failed``."""
    done = {key: answer for key, answer in answers.items() if isinstance(answer, Done) and handles[key].get("outputs")}
    try:
        found = read_outputs({key: handles[key]["outputs"] for key in done}, transport)
    except (Unreachable, Broken) as error:
        return {**answers, **dict.fromkeys(done, Unknown(f"its outputs cannot be read now: {error}"))}
    return {**answers, **{key: _completed(answer, found[key]) for key, answer in done.items()}}


def _completed(done: Done, values: Mapping[str, Value] | TaskFailed) -> Done | Failed:
    if isinstance(values, TaskFailed):
        return Failed(values.reason, FailureClass(values.failure_class), done.exit_code, done.stdout, done.stderr)
    texts = {key: value.text for key, value in values.items()}
    typed = tuple(key for key, value in values.items() if value.is_json)
    return replace(done, outputs=texts, typed=typed)
