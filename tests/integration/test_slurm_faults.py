"""What a Slurm does to jobs beside running them: each job's command runs once, and its true end is told."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.services.commands_only import CommandsOnly
from tests.services.queued_jobs import ONCE, begun, failed, queued_jobs, release
from tests.services.slurm import Slurm
from tests.waiting import wait_until
from wlmctl.batch import BatchJob, JobRef
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.task import FailureClass, Gone, Running
from wlmctl.testing.batch import Jobs


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return queued_jobs("slurm", slurm.environment, tmp_path)


def slurm_id(job: BatchJob) -> str:
    return Path(job.folder, "jobid").read_text().strip()


def states(slurm: Slurm, ref: JobRef) -> list[str]:
    """The states of all jobs of that name."""
    return sorted(state for _, state, name in slurm.queue() if name == ref["name"])


def test_submits_side_by_side_make_one_job(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    threads = [threading.Thread(target=jobs.submit, args=(job,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ref = jobs.batch.reference(job)
    release(jobs)
    assert jobs.end(ref).__class__.__name__ == "Done"
    wait_until(lambda: states(slurm, ref) == ["COMPLETED"], "one job has ended")
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_job_submitted_by_a_command_that_was_killed_is_taken_up(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    name = str(jobs.batch.reference(job)["name"])
    Path(job.folder).mkdir(parents=True)
    slurm.run("sbatch", "--hold", f"--job-name={name}", "--output=/dev/null", "--wrap", "true")
    ref = jobs.submit(job)
    assert len(states(slurm, ref)) == 1, "it was adopted, no second one was made"
    assert slurm_id(job) == next(number for number, _, found in slurm.queue() if found == name)


def test_a_requeue_by_an_administrator_runs_nothing_twice(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    slurm.run("scontrol", "requeue", slurm_id(job))
    release(jobs)
    assert jobs.end(ref).__class__.__name__ == "Done"
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def allow_requeue(slurm: Slurm, job: BatchJob) -> None:
    """By an administrator who means it, though we have said that the job is not to be."""
    slurm.run("scontrol", "update", f"JobId={slurm_id(job)}", "Requeue=1")


def test_a_job_that_is_requeued_by_force_ends_as_preempted_and_leaves_the_queue(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    allow_requeue(slurm, job)
    slurm.run("scontrol", "requeue", slurm_id(job))
    answer = failed(jobs.end(ref))
    assert (answer.failure_class, answer.reason) == (FailureClass.PREEMPTED, "re-queued in Slurm while it ran")
    jobs.end(jobs.start("true"))
    wait_until(lambda: states(slurm, ref) == ["CANCELLED"], "it waits for nothing any more")
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_job_that_is_requeued_after_its_end_keeps_its_end_and_leaves_the_queue(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    allow_requeue(slurm, job)
    release(jobs)
    wait_until(lambda: states(slurm, ref) == ["COMPLETED"], "its end")
    slurm.run("scontrol", "requeue", slurm_id(job))
    wait_until(lambda: states(slurm, ref) == ["PENDING"], "it waits once more")
    jobs.end(jobs.start("true"))
    wait_until(lambda: states(slurm, ref) == ["CANCELLED"], "it waits for nothing any more")
    assert jobs.end(ref).__class__.__name__ == "Done", "what we cancel ourselves is no word for its end"
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_recorded_id_that_is_anothers_job_by_now_is_not_believed(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    Path(job.folder).mkdir(parents=True)
    other = slurm.run("sbatch", "--parsable", "--job-name=other", "--output=/dev/null", "--wrap", "sleep 600").strip()
    Path(job.folder, "jobid").write_text(f"{other}\n")
    answer = failed(jobs.end(jobs.submit(job)))
    assert answer.failure_class is FailureClass.INFRA
    assert "never started" in answer.reason
    assert jobs.text(f"witness-{job.task}") is None
    assert next(state for number, state, _ in slurm.queue() if number == other) in ("PENDING", "RUNNING")
    slurm.run("scancel", other)


def test_a_job_that_slurm_has_forgotten_before_it_began_is_kept_from_starting(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        ref = jobs.submit(job)
        wait_until(lambda: jobs.state(ref) == Running(started=False, reason="PartitionDown"), "the reason")
        slurm.run("scancel", slurm_id(job))
        answer = failed(jobs.end(ref))
    finally:
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert answer.failure_class is FailureClass.CANCELLED
    assert jobs.end(jobs.submit(job)) == failed(jobs.end(ref))
    assert jobs.text(f"witness-{job.task}") is None


def test_a_job_whose_wrapper_is_killed_is_lost_with_a_reason(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    _, _, pid, *_ = Path(job.folder, "fence").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    answer = failed(jobs.end(ref))
    assert answer.failure_class is FailureClass.INFRA
    assert answer.reason.startswith("lost: ")
    release(jobs)


def test_a_node_that_fails_makes_an_infra_failure_and_no_second_run(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    node = slurm.run("squeue", "-h", "-j", slurm_id(job), "-o", "%N").strip()
    slurm.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    answer = failed(jobs.end(ref))
    slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert answer.failure_class is FailureClass.INFRA
    assert jobs.text(f"witness-{job.task}") == "ran\n"
    assert len(states(slurm, ref)) == 1
    release(jobs)


def test_a_controller_that_is_away_says_nothing_and_the_end_comes_with_it(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    # one that is killed forgets its last seconds, and gives numbers again: tests/integration/test_slurm_controller.py
    slurm.stop("slurmctld")
    assert jobs.state(ref).__class__.__name__ == "Unknown"
    release(jobs)
    wait_until(lambda: Path(job.folder, "exit").exists(), "the exit file")
    slurm.start_controller()
    assert jobs.end(ref).__class__.__name__ == "Done"
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_job_that_a_restarted_controller_holds_again_is_released(jobs: Jobs, slurm: Slurm) -> None:
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    job = jobs.job(ONCE)
    ref = jobs.submit(job)
    # as user hold, which is what the job was before it was released
    slurm.run("scontrol", "uhold", slurm_id(job))
    slurm.stop("slurmctld")
    slurm.start_controller()
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    release(jobs)
    assert jobs.end(ref).__class__.__name__ == "Done"
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_hold_by_a_user_is_no_end(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    ref = jobs.submit(job)
    slurm.run("scontrol", "uhold", slurm_id(job))
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert jobs.state(ref) == Running(started=False, reason="JobHeldUser")
    slurm.run("scontrol", "release", slurm_id(job))
    release(jobs)
    assert jobs.end(ref).__class__.__name__ == "Done"


def test_a_job_cancelled_while_it_waits_leaves_the_queue_and_never_runs(jobs: Jobs, slurm: Slurm) -> None:
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    job = jobs.job(ONCE)
    ref = jobs.submit(job)
    try:
        assert isinstance(jobs.end_by_cancel(ref), Gone)
    finally:
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert states(slurm, ref) == ["CANCELLED"]
    assert jobs.text(f"witness-{job.task}") is None


def test_a_held_job_of_a_sealed_token_is_removed_by_the_next_poll(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE)
    ref = jobs.batch.reference(job)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    words = ("--hold", f"--job-name={ref['name']}", f"--comment=wlm:{job.folder}", "--output=/dev/null")
    slurm.run("sbatch", *words, "--wrap", "true")
    assert states(slurm, ref) == ["PENDING"]
    jobs.end(jobs.start("true"))
    wait_until(lambda: states(slurm, ref) == ["CANCELLED"], "the held job is gone")


@pytest.mark.parametrize("setting", ["SQUEUE_PARTITION=nowhere", "SQUEUE_STATES=RUNNING", "SBATCH_PARTITION=nowhere"])
def test_settings_of_the_login_do_not_change_what_is_listed_or_submitted(
    slurm: Slurm, tmp_path: Path, jobs: Jobs, setting: str
) -> None:
    environment = slurm.environment
    name, _, value = setting.partition("=")
    transport = CommandsOnly(
        transport_factory("local")(Machine("local"), {}), f"{environment} {name}={value}; export {name}; "
    )
    odd = Jobs(jobs.batch, transport, str(tmp_path))
    ref = odd.submit(odd.job("sleep 1; echo done"))
    assert odd.end(ref).__class__.__name__ == "Done"
