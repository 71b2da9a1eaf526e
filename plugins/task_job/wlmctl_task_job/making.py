"""What a job's text becomes for a batch system: absolute paths, a ``BatchJob``, and the handle by which it is found."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.batch import BatchJob, JobRef
from wlmctl.errors import TaskFailed
from wlmctl.machine import Machine
from wlmctl.task_context import JobContext
from wlmctl.transport import Runs, Transport
from wlmctl_task_job.spec import JobSpec


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


def batch_job(spec: JobSpec, context: JobContext, transport: Transport) -> tuple[BatchJob, dict[str, Any]]:
    """The job for the batch system, and its outputs as the handle carries them, by key."""
    machine = context.machine(spec.machine)
    place = _Place(context.folder(spec.machine), machine, transport)
    directory = place.absolute(spec.directory, place.folder, "directory")
    outputs = {
        key: output.in_handle(place.absolute(output.file, directory, f"outputs.{key}.file"))
        for key, output in spec.outputs.items()
    }
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
        group=context.task.partition("[")[0],
        pack=spec.pack,
        together=machine.max_jobs,
    )
    return job, outputs


def handle(ref: JobRef, outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The handle of a job: ``shares`` names the job of the queue that several share, where that is so."""
    shares = {"shares": ref["pack"]} if "pack" in ref else {}
    return {"job": ref, "outputs": outputs, **shares} if outputs else {"job": ref, **shares}


def with_shell(transport: Transport, machine: Machine) -> Runs:
    """The transport, where jobs can be run through it; ``TaskFailed`` for a machine without a shell."""
    if not isinstance(transport, Runs):
        raise TaskFailed(f"machine {machine.name} has no shell: jobs need one, use it for staging only")
    return transport
