"""A kill between any two steps of a submit, of a job and of a cancel: the command runs once, and its end is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.kill_points import killed_at, points
from tests.services.queued_jobs import queued_jobs
from tests.services.slurm import Slurm
from tests.waiting import wait_until
from wlmctl.batch import BatchJob, JobRef, SubmitsMany
from wlmctl.errors import Broken, TaskFailed
from wlmctl.task import Done, Failed, FailureClass, Gone, Unknown
from wlmctl.testing.batch import Jobs

__all__ = ["killed_at"]

ONCE = "echo ran >> witness"


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return queued_jobs("slurm", slurm.environment, tmp_path, can_be_killed=True)


def nothing_left(slurm: Slurm, name: object) -> None:
    """Wait until no job of that name is in the queue any more: Slurm takes a moment after the exit file."""
    ended = ("COMPLETED", "CANCELLED")
    wait_until(
        lambda: not [state for _, state, found in slurm.queue() if found == name and state not in ended],
        "an empty queue",
    )


@pytest.mark.parametrize("point", range(1, 9))
def test_a_submit_killed_at_any_point_and_repeated_runs_the_command_once(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    job = jobs.job(ONCE)
    killed_at("submit", point)
    with pytest.raises(Broken):
        jobs.submit(job)
    killed_at("submit", None)
    ref = jobs.submit(job)
    assert isinstance(jobs.end(ref), Done)
    assert jobs.text("witness") == "ran\n"
    nothing_left(slurm, ref["name"])


@pytest.mark.parametrize("point", range(1, 9))
def test_a_submit_killed_at_any_point_and_cancelled_leaves_nothing(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    job = jobs.job(f"{ONCE}; sleep 60")
    killed_at("submit", point)
    with pytest.raises(Broken):
        jobs.submit(job)
    killed_at("submit", None)
    ref = jobs.batch.reference(job)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    nothing_left(slurm, ref["name"])


GROUPED = [2, 3, 4, *range(9, 14)]


def grouped(jobs: Jobs, pack: int) -> dict[str, BatchJob]:
    """Six jobs of one task: an array, or two packs."""
    made = [jobs.job(f"{ONCE}-$WLMCTL_TASK", group="task", pack=pack) for _ in range(6)]
    return {job.task: job for job in made}


def submit_many(jobs: Jobs, many: Mapping[str, BatchJob]) -> dict[str, JobRef | TaskFailed | Broken]:
    assert isinstance(jobs.batch, SubmitsMany)
    return dict(jobs.batch.submitted_many(many, jobs.run(jobs.batch.submit_many(many))))


def empty(slurm: Slurm) -> None:
    """Wait until nothing is in the queue any more."""
    ended = ("COMPLETED", "CANCELLED")
    wait_until(lambda: not [state for _, state, _ in slurm.queue() if state not in ended], "an empty queue")


def test_the_points_of_a_submit_are_those_that_are_walked() -> None:
    assert points("submit") == list(range(1, 14))


@pytest.mark.long
@pytest.mark.parametrize("pack", [0, 3], ids=["array", "packs"])
@pytest.mark.parametrize("point", GROUPED)
def test_a_submit_of_many_killed_at_any_point_and_repeated_in_other_company_runs_each_once(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int, pack: int
) -> None:
    many = grouped(jobs, pack)
    killed_at("submit", point)
    assert {type(answer) for answer in submit_many(jobs, many).values()} == {Broken}
    killed_at("submit", None)
    other = grouped(jobs, pack)
    refs = {}
    for names in (["task-1", "task-4"], ["task-2", "task-1", "task-5", "task-0", "task-3"]):
        for key, answer in submit_many(jobs, {**{name: many[name] for name in names}, **other}).items():
            assert not isinstance(answer, Exception), answer
            refs[key] = answer
    assert {type(end) for end in jobs.ends(refs).values()} == {Done}
    assert {jobs.text(f"witness-{name}") for name in refs} == {"ran\n"}
    assert len(refs) == 12
    jobs.poll({key: refs[key] for key in ("task-0",)})
    empty(slurm)


@pytest.mark.long
@pytest.mark.parametrize("pack", [0, 3], ids=["array", "packs"])
@pytest.mark.parametrize("point", GROUPED)
def test_a_submit_of_many_killed_at_any_point_and_cancelled_leaves_nothing(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int, pack: int
) -> None:
    many = grouped(jobs, pack)
    killed_at("submit", point)
    submit_many(jobs, many)
    killed_at("submit", None)
    for job in many.values():
        assert isinstance(jobs.end_by_cancel(jobs.batch.reference(job)), Gone)
    empty(slurm)
    assert {jobs.text(f"witness-{name}") for name in many} == {None}


@pytest.mark.long
@pytest.mark.parametrize("pack", [0, 3], ids=["array", "packs"])
@pytest.mark.parametrize("point", points("cancel"))
def test_a_cancel_of_one_of_many_killed_at_any_point_and_repeated_ends_that_one(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int, pack: int
) -> None:
    many = {key: replace(job, script=f"{job.script}; sleep 60") for key, job in grouped(jobs, pack).items()}
    many["task-2"] = replace(many["task-2"], script=ONCE)
    refs = {key: ref for key, ref in submit_many(jobs, many).items() if not isinstance(ref, Exception)}
    jobs.wait_for("witness-task-0")
    for name in ("task-0", "task-1"):  # one runs, and of a pack one waits
        killed_at("cancel", point)
        assert isinstance(jobs.cancel(refs[name]), Unknown)
        killed_at("cancel", None)
        assert isinstance(jobs.end_by_cancel(refs[name]), Gone)
    assert isinstance(jobs.end(refs["task-2"]), Done)
    for name in ("task-3", "task-4", "task-5"):
        assert isinstance(jobs.end_by_cancel(refs[name]), Gone)
    empty(slurm)


@pytest.mark.long
@pytest.mark.parametrize("point", points("pack"))
def test_a_pack_killed_at_any_point_leaves_what_has_not_begun_to_the_next_attempt(
    jobs: Jobs, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    killed_at("pack", point)
    many = {job.task: job for job in [jobs.job(f"{ONCE}-$WLMCTL_TASK", group="task", pack=2) for _ in range(2)]}
    answers = submit_many(jobs, many)
    ends = [*jobs.ends({key: ref for key, ref in answers.items() if not isinstance(ref, Exception)}).values()]
    assert isinstance(ends[1], Failed)
    assert (ends[1].failure_class, jobs.text("witness-task-1")) == (FailureClass.INFRA, None)
    assert isinstance(ends[0], Failed if point == 1 else Done)
    assert jobs.text("witness-task-0") == (None if point == 1 else "ran\n")


@pytest.mark.parametrize("point", points("wrapper"))
def test_a_job_killed_at_any_point_is_told_and_never_runs_twice(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    killed_at("wrapper", point)
    job = jobs.job(ONCE)
    ref = jobs.submit(job)
    answer = jobs.end(ref)
    jobs.submit(job)
    if point == 4:
        assert isinstance(answer, Done)
    else:
        assert isinstance(answer, Failed)
        assert answer.failure_class is FailureClass.INFRA
    assert jobs.text("witness") == (None if point < 3 else "ran\n")
    assert len([name for _, _, name in slurm.queue() if name == ref["name"]]) == 1


@pytest.mark.parametrize("point", points("cancel"))
def test_a_cancel_killed_at_any_point_and_repeated_ends_the_job(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    ref = jobs.start(f"{ONCE}; sleep 60")
    jobs.wait_for("witness")
    killed_at("cancel", point)
    assert isinstance(jobs.cancel(ref), Unknown)
    killed_at("cancel", None)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    nothing_left(slurm, ref["name"])
