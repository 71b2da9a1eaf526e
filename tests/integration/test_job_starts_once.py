"""A job's command starts at most once, whoever is killed and whatever is repeated."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path

import pytest
import wlmctl_batch_shell.here

from tests.services.commands_only import CommandsOnly
from tests.services.local_jobs import WAITS, WAYS, local_jobs
from tests.services.processes import kill, with_token
from tests.waiting import wait_until
from wlmctl.errors import Broken
from wlmctl.task import Done, Failed, FailureClass, Gone, Running
from wlmctl.testing.jobs import Jobs


@pytest.fixture(params=WAYS)
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    return local_jobs(tmp_path, request.param)


def test_of_two_submits_at_once_one_starts(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wlmctl_batch_shell.here, "EARLIER_START_S", 0.0)
    rounds = [jobs.job(f"echo ran >> ran-{number}") for number in range(50)]
    refs = {}
    for number, job in enumerate(rounds):
        barrier = threading.Barrier(2)

        def submit(job: object = job, number: int = number, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            refs[str(number)] = jobs.submit(rounds[number])

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(isinstance(answer, Done) for answer in jobs.ends(refs).values())
    assert [jobs.text(f"ran-{number}") for number in range(50)] == ["ran\n"] * 50


def test_where_there_are_no_hard_links_a_folder_is_the_fence(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ln").write_text("#!/bin/sh\nexit 1\n")
    (tools / "ln").chmod(0o755)
    jobs = local_jobs(tmp_path, "commands", before=f"PATH={tools}:$PATH\n")
    job = jobs.job(WAITS)
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    assert Path(job.folder, "fence").is_dir()
    assert isinstance(jobs.state(jobs.submit(job)), Running)
    assert isinstance(local_jobs(tmp_path, "spawn").state(ref), Running)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    sealed = jobs.job("touch never")
    assert isinstance(jobs.end_by_cancel(jobs.batch.reference(sealed)), Gone)
    assert isinstance(jobs.end(jobs.submit(sealed)), Gone)
    assert jobs.text("never") is None


def test_a_cancel_that_races_with_the_submit_leaves_nothing_running(jobs: Jobs) -> None:
    for number in range(25):
        job = jobs.job(f"echo ran >> ran-{number}; sleep 60")
        thread = threading.Thread(target=jobs.submit, args=(job,))
        thread.start()
        time.sleep(random.random() * 0.01)
        answer = jobs.end_by_cancel(jobs.batch.reference(job))
        thread.join()
        assert isinstance(answer, Gone)
        wait_until(lambda token=job.token: not with_token(token), "a late wrapper finds the fence taken")  # type: ignore[misc]
        assert jobs.text(f"ran-{number}") in (None, "ran\n")
        assert isinstance(jobs.state(jobs.batch.reference(job)), Gone)


def test_a_submit_command_killed_at_any_moment_can_be_repeated(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, "commands")
    for number in range(30):
        job = jobs.job(f"echo ran >> ran-{number}")
        command = jobs.batch.submit(job)
        shell = subprocess.Popen(["sh", "-c", command.text], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert shell.stdin is not None
        shell.stdin.write(command.stdin)
        shell.stdin.close()
        time.sleep(random.random() * 0.015)
        shell.kill()
        shell.wait()
        assert isinstance(jobs.end(jobs.submit(job)), Done)
        assert jobs.text(f"ran-{number}") == "ran\n"


def test_a_script_cut_off_on_its_way_does_not_start(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, "commands")
    job = jobs.job("echo one >> ran\necho two >> ran")
    command = jobs.batch.submit(job)
    assert isinstance(jobs.transport, CommandsOnly)
    with pytest.raises(Broken):
        jobs.batch.submitted(job, jobs.transport.run(command.text, command.stdin[:-12]))
    assert isinstance(jobs.end(jobs.submit(job)), Done)
    assert jobs.text("ran") == "one\ntwo\n"


def test_a_wrapper_killed_at_any_moment_leaves_an_answer_and_no_process(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, "spawn")
    for number in range(40):
        job = jobs.job(f"echo ran >> ran-{number}")
        ref = jobs.submit(job)
        time.sleep(random.random() * 0.008)
        kill(ref["process"][1])
        answer = jobs.end(ref)
        if isinstance(answer, Failed):
            assert answer.failure_class is FailureClass.INFRA
            assert not with_token(job.token)
        else:
            assert isinstance(answer, Done)
        assert jobs.text(f"ran-{number}") in (None, "ran\n")


def test_a_job_that_was_never_submitted_is_sealed_and_fails_as_infra(jobs: Jobs) -> None:
    job = jobs.job("touch ran")
    answer = jobs.end(jobs.batch.reference(job))
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass.INFRA
    assert "never started" in answer.reason
    assert isinstance(jobs.end(jobs.submit(job)), Failed)
    assert jobs.text("ran") is None
