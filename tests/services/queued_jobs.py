"""Jobs of a queue on this host, by commands as on its login node."""

from __future__ import annotations

from pathlib import Path

from tests.services.commands_only import CommandsOnly
from wlmctl.batch import BatchJob, JobRef
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.task import Failed, PollAnswer
from wlmctl.testing.jobs import Jobs

#: A script that leaves a line each time it runs, and ends when it is released.
ONCE = "echo ran >> witness-$WLMCTL_TASK; while ! [ -e go ]; do sleep 0.1; done"


def queued_jobs(system: str, environment: str, folder: Path, *, path: str = "", can_be_killed: bool = False) -> Jobs:
    """Jobs of the batch system below ``folder``; one that is silent for moments is lost.

    ``environment`` is shell text before each command, ``path`` more of it. ``can_be_killed``: each command is a shell
    of its own, so that it can end itself.
    """
    machine = Machine("cluster", kill_grace_s=1.0, shell="sh")
    before = environment + path + ("exec sh -c " if can_be_killed else "")
    transport = CommandsOnly(transport_factory("local")(Machine("local"), {}), before, as_one_word=can_be_killed)
    lost_after = "1s" if can_be_killed else "2s"
    return Jobs(batch_factory(system)(machine, {"lost_after": lost_after}), transport, str(folder))


def begun(jobs: Jobs, script: str = ONCE) -> tuple[BatchJob, JobRef]:
    """A job whose command runs."""
    job = jobs.job(script)
    ref = jobs.submit(job)
    jobs.wait_for(f"witness-{job.task}")
    return job, ref


def release(jobs: Jobs) -> None:
    """Let all that runs ``ONCE`` end."""
    folder = Path(jobs.scratch, "work")
    folder.mkdir(exist_ok=True)
    (folder / "go").touch()


def failed(answer: PollAnswer) -> Failed:
    """The answer, which is a failure."""
    assert isinstance(answer, Failed), answer
    return answer
