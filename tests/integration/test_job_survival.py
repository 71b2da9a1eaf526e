"""What a job survives, what it inherits, and how it detaches."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wlmctl_batch_shell.system import ShellBatch

from tests.services.local_jobs import WAITS, WAYS, local_jobs
from tests.services.processes import kill, wrapper_of
from tests.services.sshd import Farm
from tests.waiting import wait_until
from wlmctl.batch import HostProcess
from wlmctl.errors import TaskFailed
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.task import Done, Failed, Gone, Running
from wlmctl.testing.jobs import Jobs


@pytest.fixture(params=WAYS)
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    return local_jobs(tmp_path, request.param)


@pytest.fixture
def ssh_jobs(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    monkeypatch.setenv("WLMCTL_SSH_CONFIG", str(farm.write_inventory(tmp_path / "inventory").ssh_config))
    machine = Machine("alpha", host="alpha", kill_grace_s=1)
    with transport_factory("sftp")(machine, {}) as transport:
        yield Jobs(ShellBatch(machine), transport, str(tmp_path / "scratch"))


def test_a_job_survives_the_kill_of_the_process_that_submitted_it(tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.services.local_jobs import local_jobs
jobs = local_jobs(Path({str(tmp_path)!r}), "spawn")
jobs.submit(jobs.job({WAITS!r}, name="kept", token="t" * 32))
print("submitted", flush=True)
time.sleep(60)
"""
    submitter = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert submitter.stdout is not None
    assert submitter.stdout.readline() == "submitted\n"
    jobs = local_jobs(tmp_path, "spawn")
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
    jobs = local_jobs(tmp_path, "spawn", machine=machine)
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
    jobs = local_jobs(tmp_path, "commands", before=f"PATH={tools}:$PATH\n")
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
    jobs = local_jobs(tmp_path, "commands", before=f"PATH={tools}\n")
    with pytest.raises(TaskFailed, match=r"^setsid .* cannot be detached$"):
        jobs.start("true")
