"""How the end of a job is proven, and what it is called."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.services.commands_only import CommandsOnly
from tests.services.local_jobs import WAITS, WAYS, local_jobs
from tests.services.processes import is_alive, kill, with_token, wrapper_of
from tests.waiting import wait_until
from wlmctl.batch import HostProcess, boot_id
from wlmctl.jobs.texts import assignments, program, wrapper
from wlmctl.task import Done, Failed, FailureClass, Gone, Running, Unknown
from wlmctl.testing.jobs import Jobs


@pytest.fixture(params=WAYS)
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    return local_jobs(tmp_path, request.param)


def test_a_cancel_ends_the_whole_tree_with_what_left_the_session(jobs: Jobs) -> None:
    script = """
    setsid sh -c 'trap "" TERM HUP; echo $$ > away; while :; do sleep 0.05; done' &
    (trap '' TERM; sh -c 'echo $$ > deep; while :; do sleep 0.05; done') &
    echo ran > ran; wait"""
    job = jobs.job(script)
    ref = jobs.submit(job)
    pids = [int(jobs.wait_for(name)) for name in ("away", "deep")]
    assert all(is_alive(pid) for pid in pids)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    assert not any(is_alive(pid) for pid in pids)
    assert not with_token(job.token)


def test_a_cancel_leaves_other_jobs_alone(jobs: Jobs) -> None:
    other, doomed = jobs.start(WAITS), jobs.start("sleep 60")
    jobs.wait_for("ran")
    assert isinstance(jobs.end_by_cancel(doomed), Gone)
    assert isinstance(jobs.state(other), Running)
    Path(jobs.scratch, "work", "go").touch()
    assert isinstance(jobs.end(other), Done)


def test_a_poll_goes_on_with_a_cancel_that_nobody_repeats(jobs: Jobs) -> None:
    ref = jobs.start("trap '' TERM; echo ran > ran; while :; do sleep 0.05; done")
    jobs.wait_for("ran")
    assert isinstance(jobs.cancel(ref), Unknown | Gone)
    assert isinstance(jobs.end(ref), Gone)


def test_a_killed_wrapper_is_lost_and_its_children_are_ended(jobs: Jobs) -> None:
    job = jobs.job("(trap '' TERM; while :; do sleep 0.05; done) & echo ran > ran; wait")
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    kill(wrapper_of(job.folder))
    answer = jobs.end(ref)
    assert isinstance(answer, Failed)
    assert (answer.failure_class, "lost" in answer.reason) == (FailureClass.INFRA, True)
    assert not with_token(job.token)


def test_a_terminated_job_is_no_success_though_it_exits_with_0(jobs: Jobs) -> None:
    job = jobs.job("trap 'exit 0' TERM; echo ran > ran; while :; do sleep 0.05; done")
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    os.killpg(wrapper_of(job.folder), signal.SIGTERM)
    answer = jobs.end(ref)
    assert isinstance(answer, Failed)
    assert "signal" in answer.reason


def test_the_walltime_ends_the_whole_session_and_leaves_no_sleep(jobs: Jobs) -> None:
    job = jobs.job("(trap '' TERM; while :; do sleep 0.05; done) & sleep 60", walltime_s=1)
    answer = jobs.end(jobs.submit(job))
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass.TIME
    wait_until(lambda: not with_token(job.token), "nothing of the job is left")


def test_the_walltime_ends_a_job_without_its_grace_period_where_a_queue_gives_it_no_session_of_its_own(
    tmp_path: Path,
) -> None:
    settings = {"nonce": "n", "shell": "sh", "wall": "1", "grace": "30", "beat": "60", "place": "1 0", "report": "yes"}
    text = program(tmp_path, "start") + wrapper(has_walltime=True)
    began, runs = time.monotonic(), []
    for number in range(8):  # which is many, since it depends on the moment
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "script.n").write_text("sleep 60")
        own = assignments(**settings, folder=str(folder), token=secrets.token_hex(16))
        runs.append(subprocess.Popen(["sh", "-c", own + text], stdin=subprocess.DEVNULL))
    for run in runs:
        run.wait(timeout=60)
    assert time.monotonic() - began < 25
    assert all((tmp_path / str(number) / "exit").read_text().startswith("wlm1 143 n-1-0 0 1 ") for number in range(8))


def test_a_watchdog_ends_with_its_job(jobs: Jobs) -> None:
    rounds = [jobs.job("true", walltime_s=3600) for _ in range(20)]
    for job in rounds:
        assert isinstance(jobs.end(jobs.submit(job)), Done)
    for job in rounds:
        wait_until(lambda token=job.token: not with_token(token), "nothing of the job is left")  # type: ignore[misc]


def test_a_restart_of_the_machine_ends_a_job_as_infra(jobs: Jobs) -> None:
    job = jobs.job(WAITS)
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    fence = Path(job.folder, "fence")
    kill_all = with_token(job.token)
    fence.write_text(fence.read_text().replace(boot_id(), "00000000-0000-0000-0000-000000000000"))
    for pid in kill_all:
        kill(pid)
    answer = jobs.end({**ref, "process": None})
    assert isinstance(answer, Failed)
    assert (answer.failure_class, "restarted" in answer.reason) == (FailureClass.INFRA, True)


def test_a_job_on_another_host_of_the_same_name_is_unknown(jobs: Jobs) -> None:
    job = jobs.job("true")
    ref = jobs.batch.reference(job)
    Path(job.folder).mkdir(parents=True)
    Path(job.folder, "fence").write_text("other-host 11111111-0000-0000-0000-000000000000 77 5 nonce\n")
    answer = jobs.state(ref)
    assert isinstance(answer, Unknown)
    assert "other-host" in answer.reason
    assert isinstance(jobs.cancel(ref), Unknown)


@pytest.mark.parametrize("content", ["", "wlm1 0", "garbage\n", "wlm1 x y 0 0 0 self end\n"])
def test_a_damaged_exit_file_is_no_success(jobs: Jobs, content: str) -> None:
    job = jobs.job("true")
    ref = jobs.submit(job)
    assert isinstance(jobs.end(ref), Done)
    Path(job.folder, "exit").write_text(content)
    answer = jobs.end(ref)
    assert isinstance(answer, Failed)
    assert answer.failure_class is FailureClass.INFRA


def test_an_empty_exit_file_of_a_running_job_means_nothing(jobs: Jobs) -> None:
    job = jobs.job(WAITS)
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    Path(job.folder, "exit").touch()
    assert isinstance(jobs.state(ref), Running)
    Path(jobs.scratch, "work", "go").touch()
    assert isinstance(jobs.end(ref), Done)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_process_with_a_closed_environment_leaves_the_proof_open() -> None:
    become = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    closed = (
        "import ctypes, os, time; ctypes.CDLL(None).prctl(4, 0);"  # PR_SET_DUMPABLE: /proc/PID/environ is root's
        "open('closed', 'w').write(str(os.getpid())); time.sleep(60)"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        jobs = local_jobs(Path(folder), "commands")
        jobs.transport = CommandsOnly(jobs.transport, f"exec {become} sh -c ", as_one_word=True)
        ref = jobs.start(f"setsid python3 -c {shlex.quote(closed)} & echo ran > ran; sleep 60")
        pid = int(jobs.wait_for("closed"))

        def is_named() -> bool:
            """True once nothing else is left of the job: a busy host takes its time to end that."""
            answer = jobs.cancel(ref)
            assert isinstance(answer, Unknown)
            return str(pid) in answer.reason

        wait_until(is_named, "the process that cannot be looked into is named")
        kill(pid)
        assert isinstance(jobs.end_by_cancel(ref), Gone)


def test_a_hundred_jobs_at_once_all_come_to_their_end(jobs: Jobs) -> None:
    refs = {str(number): jobs.start(f"echo {number}; exit {number % 2}") for number in range(100)}
    ends = jobs.ends(refs)
    assert [ends[str(number)].stdout for number in range(100)] == [f"{number}\n".encode() for number in range(100)]  # type: ignore[union-attr]
    assert [isinstance(ends[str(number)], Done) for number in range(100)] == [number % 2 == 0 for number in range(100)]


def test_a_poll_of_a_thousand_running_jobs_is_cheap_and_the_first_end_ends_it(jobs: Jobs) -> None:
    this = HostProcess.of(os.getpid())
    assert this is not None
    refs = {}
    for number in range(1000):
        job = jobs.job("", name=f"many-{number}")
        Path(job.folder).mkdir(parents=True)
        Path(job.folder, "fence").write_text(f"{os.uname().nodename} {boot_id()} {this.pid} {this.start_ticks} n\n")
        refs[str(number)] = jobs.batch.reference(job)
    assert all(isinstance(answer, Running) for answer in jobs.poll(refs).values())
    began_s = time.monotonic()
    Path(refs["500"]["folder"], "exit").write_text("wlm1 0 n 0 0 0 self end\n")
    answers = jobs.poll(refs, wait_s=60)
    assert time.monotonic() - began_s < 60  # it came before its waiting time was over
    assert isinstance(answers["500"], Done)


def test_answers_over_the_limit_come_with_the_next_poll(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, "commands")
    refs = {str(number): jobs.start("head -c 70000 /dev/zero; head -c 70000 /dev/zero >&2") for number in range(40)}
    for ref in refs.values():
        wait_until(lambda folder=ref["folder"]: Path(folder, "exit").exists(), "the job ends")  # type: ignore[misc]
    first = jobs.poll(refs)
    assert sum(isinstance(answer, Running) for answer in first.values()) > 0
    assert all(isinstance(answer, Done) and len(answer.stdout) == 65536 for answer in jobs.ends(refs).values())
