"""What an operator does to a `run`: stops it, fills its disk, closes its streams, takes its work over."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.commandline import WLMCTL, CommandLine
from tests.services.sshd import Farm, require_sshd
from tests.waiting import wait_until

MANY = """
name: many
tasks:
  j: {type: job, foreach: {n: 1..%d}, command: 'echo ${n} >> witness; until [ -e go ]; do sleep 0.1; done'}
"""

ONE = "name: one\ntasks: {j: {type: job, command: 'true'}}\n"


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = 4\nshell = "sh"\n')
    yield line
    line.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def witness(cli: CommandLine) -> Counter[str]:
    path = cli.folder / "witness"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def stop(process: subprocess.Popen[str], store: Path) -> None:
    """Stop a process at a moment when it does not hold the lock of the store, which would stop everybody."""

    def is_outside() -> bool:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # all of its threads
        db = sqlite3.connect(store, timeout=0.5, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        finally:
            db.close()
        return True

    wait_until(is_outside, "it is stopped outside of a transaction")


def fill(filler: Path) -> None:
    """Write until the disk is full."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 1024)


def once(count: int) -> Counter[str]:
    return Counter(str(number) for number in range(1, count + 1))


def test_a_stopped_run_whose_work_was_taken_over_writes_nothing_more_and_ends_with_4(cli: CommandLine) -> None:
    old = cli.start("run", cli.write("many.yaml", MANY % 16))
    wait_until(lambda: witness(cli), "jobs run")
    stop(old, cli.store)
    cli.write("go", "")
    (identifier,) = cli.ids()
    new = cli.start("resume", identifier)
    assert new.wait(60) == 0, cli.said(new)
    before = cli.run("events", identifier).stdout
    old.send_signal(signal.SIGCONT)
    assert old.wait(60) == 4
    assert cli.said(old).splitlines()[-1] == (
        "wlmctl: another process has taken over this experiment: this one has stopped"
    )
    assert cli.run("events", identifier).stdout == before
    assert witness(cli) == once(16)


def test_a_disk_that_fills_up_under_the_store_ends_the_run_with_one_line_and_resume_goes_on(
    cli: CommandLine, small_disk: Path
) -> None:
    cli.store = small_disk / "wlmctl.db"
    cli.environ["WLMCTL_STORE"] = f"sqlite:///{cli.store}"
    run = cli.start("run", cli.write("many.yaml", MANY % 12))
    wait_until(lambda: witness(cli), "jobs run")
    fill(small_disk / "filler")
    cli.write("go", "")
    assert run.wait(60) == 4
    assert cli.said(run).splitlines()[-1] == f"wlmctl: store {cli.store}: the disk is full"
    assert "Traceback" not in cli.said(run)
    (identifier,) = cli.ids()
    fill(small_disk / "more")  # the end of the run has given some room back
    refused = cli.run("submit", "many.yaml", code=4)
    assert refused.stderr.startswith(f"wlmctl: store {cli.store}: the disk ")
    assert refused.stderr.count("\n") == 1
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    cli.run("resume", identifier)
    assert witness(cli) == once(12)


def test_an_orchestrator_waits_for_a_disk_that_is_full_and_goes_on(cli: CommandLine, small_disk: Path) -> None:
    cli.store = small_disk / "wlmctl.db"
    cli.environ["WLMCTL_STORE"] = f"sqlite:///{cli.store}"
    identifier = cli.run("submit", cli.write("many.yaml", MANY % 12)).stdout.strip()
    daemon = cli.start("orchestrator", "--slots", "4")
    wait_until(lambda: witness(cli), "jobs run")
    fill(small_disk / "filler")
    cli.write("go", "")
    wait_until(lambda: "trying again" in cli.said(daemon), "it has noticed")
    assert cli.said(daemon).splitlines()[-1].endswith(f"store {cli.store}: the disk is full; trying again, jobs go on")
    (small_disk / "filler").unlink()
    cli.run("wait", identifier, timeout_s=80)
    assert witness(cli) == once(12)
    daemon.terminate()
    assert daemon.wait(60) == 0


def test_a_standby_orchestrator_leads_after_the_leader_was_stopped(cli: CommandLine) -> None:
    leader = cli.start("orchestrator", "--slots", "4")
    wait_until(lambda: "leads" in cli.run("doctor", code=None).stdout, "one leads")
    standby = cli.start("orchestrator", "--slots", "4")
    wait_until(lambda: "waiting to take over" in cli.said(standby), "the other waits")
    identifier = cli.run("submit", cli.write("many.yaml", MANY % 12)).stdout.strip()
    wait_until(lambda: witness(cli), "jobs run")
    stop(leader, cli.store)
    cli.write("go", "")
    cli.run("wait", identifier, timeout_s=80)
    leader.send_signal(signal.SIGCONT)
    wait_until(lambda: "another process leads now" in cli.said(leader), "the old leader has noticed")
    assert witness(cli) == once(12)
    for process in (leader, standby):
        process.terminate()
        assert process.wait(60) == 0


def test_a_run_whose_stderr_is_full_or_closed_ends_as_the_experiment_does(cli: CommandLine) -> None:
    cli.write("one.yaml", ONE)
    for redirection in ("2>/dev/full", "2>&-"):
        line = f"{' '.join(WLMCTL)} run one.yaml {redirection}"
        assert subprocess.run(line, shell=True, cwd=cli.folder, env=cli.environ, check=False).returncode == 0
    cli.write("bad.yaml", "name: bad\ntasks: {j: {type: job, command: exit 3}}\n")
    line = f"{' '.join(WLMCTL)} run bad.yaml 2>/dev/full"
    assert subprocess.run(line, shell=True, cwd=cli.folder, env=cli.environ, check=False).returncode == 1


def test_a_run_whose_events_nobody_can_read_is_not_begun(cli: CommandLine) -> None:
    cli.write("one.yaml", ONE)
    line = f"{' '.join(WLMCTL)} run -o json one.yaml > /dev/full"
    assert subprocess.run(line, shell=True, cwd=cli.folder, env=cli.environ, check=False).returncode == 4
    assert cli.ids() == []


def test_run_tells_its_id_first_and_its_end_last_as_json(cli: CommandLine) -> None:
    done = cli.run("run", "-o", "json", cli.write("one.yaml", ONE))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (identifier,) = cli.ids()
    assert lines[0] == {"version": 1, "experiment": identifier, "kind": "submitted"}
    assert lines[-1] == {"version": 1, "experiment": identifier, "kind": "end", "state": "succeeded"}


def test_ctrl_c_while_modules_are_imported_is_no_traceback() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'wlmctl.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from wlmctl.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "wlmctl: interrupted\n")


def test_whole_logs_of_all_tasks_leave_out_those_that_print_nothing(cli: CommandLine) -> None:
    cli.write(
        "mixed.yaml",
        "name: mixed\ntasks:\n"
        "  made: {type: environment, directories: [work]}\n"
        "  says: {type: job, needs: [made], command: printf hello}\n"
        "  also: {type: job, needs: [says], command: echo done}\n",
    )
    cli.run("run", "mixed.yaml")
    (identifier,) = cli.ids()
    assert cli.run("logs", "--full", identifier).stdout == (
        "==> says, attempt 1, stdout <==\nhello\n\n==> also, attempt 1, stdout <==\ndone\n"
    )


def test_ctrl_c_ends_a_command_at_once_though_its_machine_hangs(tmp_path: Path) -> None:
    require_sshd()
    farm = Farm(tmp_path / "farm", first=70)
    try:
        machine = farm.add("nas")
        inventory = farm.write_inventory(tmp_path / "work")
        line = CommandLine(inventory.folder, inventory.env)
        line.write("far.yaml", "name: far\ntasks: {j: {type: job, machine: nas, command: 'true'}}\n")
        machine.pause()
        for args in (["run", "far.yaml"], ["plan", "far.yaml"], ["copy", "local:far.yaml", "nas:x"]):
            process = line.start(*args)
            wait_until(partial(_is_connected, process.pid, machine.port), "it waits for the machine")
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert time.monotonic() - begun < 15, "its time-out is 30 s"
            assert "Traceback" not in line.said(process)
        assert line.ids() == []
        line.close()
    finally:
        farm.close()


def _is_connected(pid: int, port: int) -> bool:
    """True when a process has an established TCP connection to this port."""
    try:
        ours = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return False
    return any(row[3] == "01" and row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in ours for row in rows)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_batch_system_that_there_is_not_is_told_before_anything_is_written(cli: CommandLine, command: str) -> None:
    cli.write("wlmctl.toml", '[machines.far]\nhost = "far.invalid"\nbatch = "condor"\n')
    cli.write("far.yaml", "name: far\ntasks: {j: {type: job, machine: far, command: 'true'}}\n")
    done = cli.run(command, "far.yaml", code=2)
    there = "lsf, pbs, sge, shell, slurm"
    assert done.stderr == f"wlmctl: batch system 'condor': no such plugin (installed: {there})\n"
    assert done.stdout == ""
