"""A kill between any two steps on Grid Engine, PBS and LSF: the command runs once, and nothing is left in the queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.fake_queue import FakeQueue
from tests.services.gridengine import GridEngine
from tests.services.kill_points import killed_at, points
from tests.services.queued_jobs import queued_jobs
from tests.waiting import wait_until
from wlmctl.batch import Command, FindsJobs, JobRef, SubmitsMany
from wlmctl.errors import Broken
from wlmctl.task import Done, Failed, FailureClass, Gone, Running, Unknown
from wlmctl.testing.batch import Jobs

__all__ = ["killed_at"]

pytestmark = pytest.mark.long

Arm = Callable[[str, int | None], None]
ONCE = "echo ran >> witness"
#: The points of a submit that a single job comes by.
SUBMIT = range(1, 9)


class Kills:
    """A subclass gives the fixture ``jobs``, and says whether a name is in the queue."""

    def is_queued(self, jobs: Jobs, name: str) -> bool:
        raise NotImplementedError

    def nothing_left(self, jobs: Jobs, ref: JobRef) -> None:
        wait_until(lambda: not self.is_queued(jobs, ref["name"]), "an empty queue")

    @pytest.mark.parametrize("point", SUBMIT)
    def test_a_submit_killed_and_repeated_runs_the_command_once(self, jobs: Jobs, killed_at: Arm, point: int) -> None:
        job = jobs.job(ONCE)
        killed_at("submit", point)
        with pytest.raises(Broken):
            jobs.submit(job)
        killed_at("submit", None)
        ref = jobs.submit(job)
        assert isinstance(jobs.end(ref), Done)
        assert jobs.text("witness") == "ran\n"
        self.nothing_left(jobs, ref)

    @pytest.mark.parametrize("point", SUBMIT)
    def test_a_submit_killed_and_cancelled_leaves_nothing(self, jobs: Jobs, killed_at: Arm, point: int) -> None:
        job = jobs.job(f"{ONCE}; sleep 60")
        killed_at("submit", point)
        with pytest.raises(Broken):
            jobs.submit(job)
        killed_at("submit", None)
        ref = jobs.batch.reference(job)
        assert isinstance(jobs.end_by_cancel(ref), Gone)
        self.nothing_left(jobs, ref)

    @pytest.mark.parametrize("point", points("wrapper"))
    def test_a_job_killed_is_told_and_never_runs_twice(self, jobs: Jobs, killed_at: Arm, point: int) -> None:
        killed_at("wrapper", point)
        job = jobs.job(ONCE)
        ref = jobs.submit(job)
        answer = jobs.end(ref)
        killed_at("wrapper", None)
        jobs.submit(job)
        if point == 4:
            assert isinstance(answer, Done)
        else:
            assert isinstance(answer, Failed)
            assert answer.failure_class is FailureClass.INFRA
        assert jobs.text("witness") == (None if point < 3 else "ran\n")
        self.nothing_left(jobs, ref)

    @pytest.mark.parametrize("point", points("cancel"))
    def test_a_cancel_killed_and_repeated_ends_the_job(self, jobs: Jobs, killed_at: Arm, point: int) -> None:
        ref = jobs.start(f"{ONCE}; sleep 60")
        jobs.wait_for("witness")
        killed_at("cancel", point)
        assert isinstance(jobs.cancel(ref), Unknown)
        killed_at("cancel", None)
        assert isinstance(jobs.end_by_cancel(ref), Gone)
        self.nothing_left(jobs, ref)


class TestGridEngine(Kills):
    @pytest.fixture
    def jobs(self, gridengine: GridEngine, tmp_path: Path) -> Jobs:
        self.engine = gridengine
        return queued_jobs("sge", gridengine.environment, tmp_path, can_be_killed=True)

    def is_queued(self, jobs: Jobs, name: str) -> bool:
        return bool(self.engine.states(name))


class TestFakes(Kills):
    @pytest.fixture
    def jobs(self, fake_queue: FakeQueue, tmp_path: Path) -> Jobs:
        self.queue = fake_queue
        return queued_jobs(fake_queue.system, fake_queue.environment, tmp_path, can_be_killed=True)

    def is_queued(self, jobs: Jobs, name: str) -> bool:
        return any(job["state"] != "over" for job in self.queue.jobs(name))

    @pytest.mark.parametrize("fault", ["down", "cut"])
    def test_a_queue_that_does_not_answer_says_nothing(self, jobs: Jobs, fault: str) -> None:
        ref = jobs.start(f"{ONCE}; while ! [ -e go ]; do sleep 0.05; done")
        jobs.wait_for("witness")
        with self.queue.fault(fault):
            assert isinstance(jobs.state(ref), Unknown)
            with pytest.raises(Broken):
                jobs.submit(jobs.job("true"))
        Path(jobs.scratch, "work/go").touch()
        assert isinstance(jobs.end(ref), Done)
        assert jobs.text("witness") == "ran\n"

    def test_the_members_of_a_pack_are_found_with_their_folders_and_run_once_each(self, jobs: Jobs) -> None:
        made = [jobs.job(f"{ONCE}-{n}; while ! [ -e go ]; do sleep 0.05; done", group="t", pack=2) for n in range(2)]
        many = {job.task: job for job in made}
        assert isinstance(jobs.batch, SubmitsMany)
        answers = jobs.batch.submitted_many(many, jobs.run(jobs.batch.submit_many(many)))
        refs = {key: ref for key, ref in answers.items() if not isinstance(ref, Exception)}
        jobs.wait_for("witness-0")
        assert isinstance(jobs.batch, FindsJobs)
        assert set(jobs.batch.found(jobs.run(jobs.batch.find()))) == {job.folder for job in made}
        Path(jobs.scratch, "work/go").touch()
        assert {type(answer) for answer in jobs.ends(refs).values()} == {Done}
        assert len(self.queue.jobs()) == 1
        assert [jobs.text(f"witness-{n}") for n in range(2)] == ["ran\n"] * 2

    def test_a_job_that_somebody_deletes_while_it_waits_never_runs(self, jobs: Jobs) -> None:
        with self.queue.fault("closed"):
            ref = jobs.start(ONCE)
            waiting = jobs.state(ref)
            assert isinstance(waiting, Running)
            assert not waiting.started
            jobs.run(Command(f"{'bkill' if self.queue.system == 'lsf' else 'qdel'} {ref['id']}"))
            answer = jobs.end(ref)
        assert isinstance(answer, Failed)
        assert answer.failure_class is FailureClass.CANCELLED
        assert jobs.text("witness") is None
