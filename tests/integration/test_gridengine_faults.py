"""What a Grid Engine does to jobs beside running them: each job's command runs once, and its true end is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.gridengine import GridEngine
from tests.services.queued_jobs import ONCE, begun, failed, queued_jobs, release
from tests.waiting import wait_until
from wlmctl.batch import FindsJobs, SubmitsMany
from wlmctl.errors import TaskFailed
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory
from wlmctl.task import Done, FailureClass, Gone, Running, Unknown
from wlmctl.testing.batch import Jobs

pytestmark = pytest.mark.long


@pytest.fixture
def jobs(gridengine: GridEngine, tmp_path: Path) -> Jobs:
    return queued_jobs("sge", gridengine.environment, tmp_path)


@contextmanager
def closed(engine: GridEngine) -> Iterator[None]:
    """The queue starts nothing."""
    engine.run("qmod", "-d", "main")
    try:
        yield
    finally:
        engine.run("qmod", "-e", "main")


def test_a_walltime_at_which_grid_engine_kills_at_once_is_told_from_the_accounting(jobs: Jobs) -> None:
    answer = failed(jobs.end(jobs.start(ONCE, options={"extra": ["-l", "h_rt=2"]})))
    assert answer.failure_class is FailureClass.TIME
    assert answer.reason.startswith("exceeded its walltime")


def test_a_job_that_somebody_deletes_while_it_runs_is_lost_and_does_not_run_again(
    jobs: Jobs, gridengine: GridEngine
) -> None:
    job, ref = begun(jobs)
    gridengine.run("qdel", str(ref["id"]))
    answer = failed(jobs.end(ref))
    assert answer.failure_class is FailureClass.INFRA
    assert answer.reason.startswith("lost: Grid Engine ")
    jobs.submit(job)
    assert jobs.text(f"witness-{job.task}") == "ran\n"
    assert gridengine.states(str(ref["name"])) == []


def test_a_job_whose_folder_its_host_does_not_see_never_starts_and_leaves_the_queue(
    jobs: Jobs, gridengine: GridEngine
) -> None:
    job = jobs.job(ONCE)
    with closed(gridengine):
        ref = jobs.submit(job)
        Path(job.folder).rename(f"{job.folder}.away")
    wait_until(lambda: gridengine.states(str(ref["name"])) == ["Eqw"], "the failed launch")
    Path(f"{job.folder}.away").rename(job.folder)
    answer = failed(jobs.end(ref))
    assert answer.failure_class is FailureClass.INFRA
    assert answer.reason == "never started: Grid Engine gave it a node and could not launch it there"
    assert jobs.text(f"witness-{job.task}") is None
    wait_until(lambda: not gridengine.states(str(ref["name"])), "an empty queue")


def test_a_waiting_job_waits_and_a_hold_by_a_user_is_no_end(jobs: Jobs, gridengine: GridEngine) -> None:
    with closed(gridengine):
        ref = jobs.start(ONCE)
        assert jobs.state(ref) == Running(started=False, reason="qw")
        gridengine.run("qhold", str(ref["id"]))
        assert jobs.state(ref) == Running(started=False, reason="JobHeldUser")
        gridengine.run("qrls", str(ref["id"]))
    release(jobs)
    assert isinstance(jobs.end(ref), Done)


def test_a_job_cancelled_while_it_waits_leaves_the_queue_and_never_runs(jobs: Jobs, gridengine: GridEngine) -> None:
    job = jobs.job(ONCE)
    with closed(gridengine):
        ref = jobs.submit(job)
        assert isinstance(jobs.end_by_cancel(ref), Gone)
    assert gridengine.states(str(ref["name"])) == []
    assert jobs.text(f"witness-{job.task}") is None


def test_a_cancelled_job_is_asked_to_end_before_it_is_killed(gridengine: GridEngine, jobs: Jobs) -> None:
    patient = Jobs(
        batch_factory("sge")(Machine("cluster", kill_grace_s=1.0, shell="sh"), {}), jobs.transport, jobs.scratch
    )
    ref = patient.start("trap 'echo yes > tidied; exit 0' TERM; echo yes > begun; while :; do sleep 0.1; done")
    patient.wait_for("begun")
    assert isinstance(patient.end_by_cancel(ref), Gone)
    assert patient.text("tidied") == "yes\n"
    wait_until(lambda: not gridengine.states(str(ref["name"])), "an empty queue")


def test_a_master_that_is_away_says_nothing_and_the_end_comes_with_it(jobs: Jobs, gridengine: GridEngine) -> None:
    job, ref = begun(jobs)
    gridengine.kill_master()
    assert isinstance(jobs.state(ref), Unknown)
    release(jobs)
    wait_until(lambda: Path(job.folder, "exit").exists(), "the exit file")
    gridengine.start_master()
    assert isinstance(jobs.end(ref), Done)
    assert jobs.text(f"witness-{job.task}") == "ran\n"


def test_a_held_job_of_a_sealed_token_is_removed_by_the_next_poll(jobs: Jobs, gridengine: GridEngine) -> None:
    job = jobs.job(ONCE)
    ref = jobs.batch.reference(job)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    name = str(ref["name"])
    words = ("-h", "-r", "n", "-b", "y", "-N", name, "-wd", job.folder, "-o", "/dev/null", "-e", "/dev/null")
    gridengine.run("qsub", *words, "/bin/true")
    assert gridengine.states(name) == ["hqw"]
    jobs.end(jobs.start("true"))
    wait_until(lambda: not gridengine.states(name), "the held job is gone")


def test_jobs_that_live_are_found_with_their_folders(jobs: Jobs, gridengine: GridEngine) -> None:
    job, ref = begun(jobs)
    assert isinstance(jobs.batch, FindsJobs)
    found = jobs.batch.found(jobs.run(jobs.batch.find()))
    assert found[job.folder] == {"folder": job.folder, "name": ref["name"], "id": ref["id"]}
    release(jobs)
    jobs.end(ref)


def test_many_jobs_and_packs_are_submitted_by_one_command(jobs: Jobs, gridengine: GridEngine) -> None:
    made = [jobs.job(f"echo ran >> witness-{n}", group="task", pack=3 if n < 6 else 0) for n in range(8)]
    made.append(jobs.job("true", options={"queue": "nowhere"}))
    many = {job.task: job for job in made}
    assert isinstance(jobs.batch, SubmitsMany)
    answers = dict(jobs.batch.submitted_many(many, jobs.run(jobs.batch.submit_many(many))))
    refused = answers.pop(made[-1].task)
    assert isinstance(refused, TaskFailed)
    assert "unknown queue" in str(refused)
    refs = {key: ref for key, ref in answers.items() if not isinstance(ref, Exception)}
    assert len(refs) == 8
    assert len({ref["id"] for ref in refs.values()}) == 4
    assert {type(answer) for answer in jobs.ends(refs).values()} == {Done}
    assert [jobs.text(f"witness-{n}") for n in range(8)] == ["ran\n"] * 8
