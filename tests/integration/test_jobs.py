"""Jobs as processes: what is killed when, what survives, and what is answered."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wlmctl_batch_shell.here
from wlmctl_batch_shell.system import ShellBatch

from tests.services.commands_only import CommandsOnly
from tests.services.processes import is_alive, kill, with_token, wrapper_of
from tests.services.sshd import Farm
from tests.waiting import wait_until
from wlmctl.batch import HostProcess, boot_id
from wlmctl.errors import Broken, TaskFailed
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.task import Done, Failed, FailureClass, Gone, Running, Unknown
from wlmctl.testing.batch import Jobs

WAITS = "echo ran > ran; while ! [ -e go ]; do sleep 0.05; done"


def local_jobs(folder: Path, *, by_spawn: bool, environment: str = "", machine: Machine | None = None) -> Jobs:
    machine = machine or Machine("local", kill_grace_s=1)
    transport = transport_factory("local")(machine, {})
    return Jobs(ShellBatch(machine), transport if by_spawn else CommandsOnly(transport, environment), str(folder))


@pytest.fixture(params=["spawn", "commands"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    """Jobs on this host, in both ways."""
    return local_jobs(tmp_path, by_spawn=request.param == "spawn")


@pytest.fixture
def ssh_jobs(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    inventory = farm.write_inventory(tmp_path / "inventory")
    for name, value in inventory.env.items():
        monkeypatch.setenv(name, value)
    machine = Machine("alpha", host="alpha", kill_grace_s=1)
    with transport_factory("sftp")(machine, {}) as transport:
        yield Jobs(ShellBatch(machine), transport, str(tmp_path / "scratch"))


# --- what survives


def test_a_job_survives_the_kill_of_the_process_that_submitted_it(tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.integration.test_jobs import local_jobs
jobs = local_jobs(Path({str(tmp_path)!r}), by_spawn=True)
jobs.submit(jobs.job({WAITS!r}, name="kept", token="t" * 32))
print("submitted", flush=True)
time.sleep(60)
"""
    submitter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert submitter.stdout is not None
    assert submitter.stdout.readline() == "submitted\n"
    jobs = local_jobs(tmp_path, by_spawn=True)
    jobs.wait_for("ran")
    os.killpg(submitter.pid, signal.SIGHUP)
    kill(submitter.pid)
    submitter.wait()
    submitter.stdout.close()
    ref = jobs.submit(jobs.job(WAITS, name="kept", token="t" * 32))
    process = HostProcess.from_json(ref["process"])
    assert process is not None
    assert process.is_alive()
    descriptor = process.open_end()
    assert descriptor is not None
    (tmp_path / "work" / "go").touch()
    os.set_blocking(descriptor, False)
    wait_until(lambda: not process.is_alive(), "the wrapper ends")
    os.close(descriptor)
    assert isinstance(jobs.end(ref), Done)


def test_a_job_survives_its_ssh_connection(ssh_jobs: Jobs, farm: Farm) -> None:
    ref = ssh_jobs.start(WAITS)
    ssh_jobs.wait_for("ran")
    farm["alpha"].kill_sessions()
    with transport_factory("sftp")(Machine("alpha", host="alpha"), {}) as transport:
        again = Jobs(ssh_jobs.batch, transport, ssh_jobs.scratch)
        assert isinstance(again.state(ref), Running)
        Path(ssh_jobs.scratch, "work", "go").touch()
        assert isinstance(again.end(ref), Done)


def test_a_job_is_a_session_of_its_own_without_a_terminal(jobs: Jobs) -> None:
    answer = jobs.end(
        jobs.start("read -r stat < /proc/self/stat; set -- ${stat##*) }; echo $4 $5; cat ../private/*/1/fence")
    )
    assert isinstance(answer, Done)
    session, terminal, *fence = answer.stdout.split()
    assert (session, terminal) == (fence[2], b"0")
    assert int(session) != os.getsid(0)


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("QUIT", 131), ("PIPE", 141), ("XFSZ", 153), ("HUP", 129)])
def test_signals_have_their_usual_effect_in_a_job(jobs: Jobs, name: str, code: int) -> None:
    answer = jobs.end(jobs.start(f"kill -{name} $$; echo survived"))
    assert isinstance(answer, Failed)
    assert (answer.exit_code, answer.stdout) == (code, b"")


def test_a_local_job_has_the_environment_of_the_process_less_our_own(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WLMCTL_STORE", "sqlite:///secret.db")
    monkeypatch.setenv("A_SETTING", "seen")
    answer = jobs.end(jobs.start("echo $A_SETTING; env | grep ^WLMCTL_ | cut -d= -f1 | sort"))
    assert isinstance(answer, Done)
    names = ["ATTEMPT", "EXPERIMENT", "FOLDER", "TASK", "TOKEN"]
    assert answer.stdout.decode().split() == ["seen", *(f"WLMCTL_{name}" for name in names)]


def test_the_machines_shell_runs_the_preamble_and_the_jobs_own_values_win(tmp_path: Path) -> None:
    machine = Machine("local", shell="bash", preamble="export A=preamble B=preamble\nmodule() { echo module $1; }")
    jobs = local_jobs(tmp_path, by_spawn=True, machine=machine)
    answer = jobs.end(jobs.start("echo $A $B; module load; [[ $0 == *bash ]]", env={"A": "job"}))
    assert isinstance(answer, Done), answer
    assert answer.stdout == b"job preamble\nmodule load\n"


STUBS = {
    "setsid": "exit 127",
    "an old setsid": 'case $1 in --fork) exit 1 ;; esac; exec /usr/bin/setsid "$@"',
    "python3": "exit 127",
    "perl": "exit 127",
}


@pytest.mark.parametrize("missing", [["setsid"], ["setsid", "python3"], ["an old setsid", "python3", "perl"]])
def test_a_job_detaches_with_whatever_the_machine_has(tmp_path: Path, missing: list[str]) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in missing:
        stub = tools / name.split()[-1]
        stub.write_text(f"#!/bin/sh\n{STUBS[name]}\n")
        stub.chmod(0o755)
    jobs = local_jobs(tmp_path, by_spawn=False, environment=f"PATH={tools}:$PATH\n")
    job = jobs.job(WAITS)
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    assert os.getsid(wrapper_of(job.folder)) == wrapper_of(job.folder)
    assert isinstance(jobs.end_by_cancel(ref), Gone)


def test_a_machine_where_nothing_can_detach_refuses_in_one_line(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("mkdir", "cat", "wc", "sh"):
        (tools / name).symlink_to(shutil.which(name) or name)
    jobs = local_jobs(tmp_path, by_spawn=False, environment=f"PATH={tools}\n")
    with pytest.raises(TaskFailed, match=r"^setsid .* cannot be detached$"):
        jobs.start("true")


# --- a job starts once


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
    jobs = local_jobs(tmp_path, by_spawn=False, environment=f"PATH={tools}:$PATH\n")
    job = jobs.job(WAITS)
    ref = jobs.submit(job)
    jobs.wait_for("ran")
    assert Path(job.folder, "fence").is_dir()
    assert isinstance(jobs.state(jobs.submit(job)), Running)
    assert isinstance(local_jobs(tmp_path, by_spawn=True).state(ref), Running)
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
    jobs = local_jobs(tmp_path, by_spawn=False)
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
    jobs = local_jobs(tmp_path, by_spawn=False)
    job = jobs.job("echo one >> ran\necho two >> ran")
    command = jobs.batch.submit(job)
    assert isinstance(jobs.transport, CommandsOnly)
    with pytest.raises(Broken):
        jobs.batch.submitted(job, jobs.transport.run(command.text, command.stdin[:-12]))
    assert isinstance(jobs.end(jobs.submit(job)), Done)
    assert jobs.text("ran") == "one\ntwo\n"


def test_a_wrapper_killed_at_any_moment_leaves_an_answer_and_no_process(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, by_spawn=True)
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


# --- the end, and the proof of it


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
        jobs = local_jobs(Path(folder), by_spawn=False)
        jobs.transport = CommandsOnly(jobs.transport, f"exec {become} sh -c ", as_one_word=True)
        ref = jobs.start(f"setsid python3 -c {shlex.quote(closed)} & echo ran > ran; sleep 60")
        pid = int(jobs.wait_for("closed"))
        answer = jobs.cancel(ref)
        assert isinstance(answer, Unknown)
        assert str(pid) in answer.reason
        kill(pid)
        assert isinstance(jobs.end_by_cancel(ref), Gone)


# --- many


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
    began_s = time.monotonic()
    assert all(isinstance(answer, Running) for answer in jobs.poll(refs).values())
    assert time.monotonic() - began_s < 3
    Path(refs["500"]["folder"], "exit").write_text("wlm1 0 n 0 0 0 self end\n")
    answers = jobs.poll(refs, wait_s=60)
    assert time.monotonic() - began_s < 20
    assert isinstance(answers["500"], Done)


def test_answers_over_the_limit_come_with_the_next_poll(tmp_path: Path) -> None:
    jobs = local_jobs(tmp_path, by_spawn=False)
    refs = {str(number): jobs.start("head -c 70000 /dev/zero; head -c 70000 /dev/zero >&2") for number in range(40)}
    for ref in refs.values():
        wait_until(lambda folder=ref["folder"]: Path(folder, "exit").exists(), "the job ends")  # type: ignore[misc]
    first = jobs.poll(refs)
    assert sum(isinstance(answer, Running) for answer in first.values()) > 0
    assert all(isinstance(answer, Done) and len(answer.stdout) == 65536 for answer in jobs.ends(refs).values())
