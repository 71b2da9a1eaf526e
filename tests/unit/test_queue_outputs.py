"""What the commands of PBS, Grid Engine and LSF print is read as it is meant, by the texts that run on a login node."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from wlmctl.batch import BatchJob, Capacity, TellsCapacity
from wlmctl.errors import ConfigError, TaskFailed
from wlmctl.jobs.queue.system import QueueBatch
from wlmctl.jobs.texts import program
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory
from wlmctl.task import Resources
from wlmctl.transport import Completed

DATA = Path(__file__).parents[1] / "data" / "queues"
PLUGINS = Path(__file__).parents[2] / "plugins"
PRO, TORQUE = "pbs_version = 19.1.3", "Version: 4.2.10"


class Login:
    """A login node whose commands print what they are told to, and end with the code they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, name: str, stdout: str = "", stderr: str = "", code: int = 0, version: str = "") -> None:
        for stream, text in (("out", stdout), ("err", stderr)):
            (self.folder / f"{name}.{stream}").write_text(text)
        asked = f'[ "$1" = --version ] && {{ echo "{version}"; exit; }}\n' if version else ""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\n{asked}echo "$0 $*" >>"$0.calls"\ncat "$0.out"\ncat "$0.err" >&2\nexit {code}\n')
        path.chmod(0o755)

    def run(self, system: str, text: str) -> subprocess.CompletedProcess[str]:
        texts = PLUGINS / f"batch_{system}" / f"wlmctl_batch_{system}"
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        command = ["sh", "-c", program(texts, "queue") + text]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    def listed(self, system: str) -> list[list[str]]:
        done = self.run(system, "queue_list && echo whole")
        *lines, end = done.stdout.splitlines()
        assert (end, done.returncode) == ("whole", 0), done.stderr
        return [line.split("|") for line in lines]

    def refuses_to_list(self, system: str) -> bool:
        return self.run(system, "queue_list >/dev/null").returncode != 0

    def kept(self, system: str, number: int, name: str) -> str:
        told = 'state= reason=; queue_told "$1" "$2"; echo "$state $reason"'
        return self.run(system, f"set -- {number} {name}; {told}").stdout.strip()


@pytest.fixture
def login(tmp_path: Path) -> Login:
    return Login(tmp_path)


def numbers(text: str) -> str:
    return "".join(f"{line.split()[2]}\n" for line in text.splitlines() if line.startswith("Job Id: "))


def test_pbs_pro_lists_whole_values_of_folded_lines(login: Login) -> None:
    text = (DATA / "pbspro-list.txt").read_text()
    login.command("qselect", numbers(text))
    login.command("qstat", text, version=PRO)
    queued, running, depends, broken = login.listed("pbs")
    assert queued == [
        *("68350", "PENDING", "waaaaaaaaaaaaaa", "-"),
        "wlm:/home/usernum1/scratch/cptest/scaletest/PTOscaletest",
        "Not Running: Node is in an ineligible state: offline",
    ]
    assert running[:3] == ["69301", "RUNNING", "wbbbbbbbbbbbbbb"]
    assert running[3].startswith("b141/")
    assert running[4] == "wlm:/scratch/user02/QMMM-CuPhens/dbp/NOSE/RUN7"
    assert depends[1:] == [
        *("PENDING", "wcccccccccccccc", "-", "wlm:/scratch/user02/QMMM-CuPhens/dbp/NOSE/RUN8", "held (s)")
    ]
    assert broken[1:3] == ["RUNNING", "wdddddddddddddd"]
    assert broken[4] == "wlm:/scratch/user3/ubiquitin/100gL/starting-from-left/production"


def test_openpbs_lists_a_running_job(login: Login) -> None:
    text = (DATA / "openpbs-list.txt").read_text()
    login.command("qselect", "14\n")
    login.command("qstat", text, version="pbs_version = 23.06.06")
    [row] = login.listed("pbs")
    assert row[:5] == ["14", "RUNNING", "waaaaaaaaaaaaaa", "f41a0fbae027/0", "wlm:/home/testu"]


def test_torque_lists_an_end_with_its_meaning(login: Login) -> None:
    text = (DATA / "torque-list.txt").read_text()
    login.command("qselect", numbers(text))
    login.command("qstat", text, version=TORQUE)
    held, running, ended = login.listed("pbs")
    assert (held[1], held[5]) == ("PENDING", "held (s)")
    assert (running[1], running[4]) == ("RUNNING", "wlm:/home/somebody/ini_J2")
    assert (ended[1], ended[5]) == ("TIMEOUT", " (exit status -11)")


@pytest.mark.parametrize(
    "said",
    [
        "qstat: Unknown Job Id Error 69302.mycluster",
        "qstat: Unknown Job Id 69302.mycluster",
        "qstat: 69302.mycluster Job has finished, use -x or -H to obtain historical job information",
    ],
)
def test_a_job_that_ends_while_pbs_is_asked_leaves_the_listing_whole(login: Login, said: str) -> None:
    text = (DATA / "openpbs-list.txt").read_text()
    login.command("qselect", "14\n69302.mycluster\n")
    login.command("qstat", text, f"{said}\n", 153, version=PRO)
    assert [row[0] for row in login.listed("pbs")] == ["14"]


@pytest.mark.parametrize(
    ("stdout", "stderr", "code"),
    [
        ("", "Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)\n", 255),
        ("Job Id: 14\n    Job_Name = waaaaaaaaaaaaaa\n    job_state = R\n", "", 0),
        ("Job Id: 14\n    Job_Name = waaaaaaaaaaaaaa\n    job_state = R\n\nJob Id: 15\n    Job_N", "", 137),
    ],
)
def test_half_a_listing_of_pbs_is_none(login: Login, stdout: str, stderr: str, code: int) -> None:
    login.command("qselect", "14\n15\n")
    login.command("qstat", stdout, stderr, code, version=PRO)
    assert login.refuses_to_list("pbs")


def test_pbs_without_jobs_of_the_login_is_not_asked_for_any(login: Login) -> None:
    login.command("qselect")
    login.command("qstat", code=1, version=PRO)
    assert login.listed("pbs") == []
    login.command("qselect", stderr="qselect: cannot connect to server (errno=111)", code=1)
    assert login.refuses_to_list("pbs")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("waaaaaaaaaaaaaa", "TIMEOUT Job run at Sun Aug 30 at 10:13 and terminated (exit status -29)"),
        ("wbbbbbbbbbbbbbb", "OUT_OF_MEMORY  (exit status -27)"),
        ("wcccccccccccccc", "CANCELLED Job run at Wed Sep 30 at 05:03 and terminated (exit status 271)"),
        ("wdddddddddddddd", "NODE_FAIL job held, too many failed attempts to run and terminated (exit status -3)"),
        ("weeeeeeeeeeeeee", "COMPLETED  (exit status 0)"),
    ],
)
def test_the_history_of_pbs_says_how_a_job_ended(login: Login, name: str, told: str) -> None:
    login.command("qstat", (DATA / "pbspro-history.txt").read_text(), version=PRO)
    assert login.kept("pbs", 1, name) == told
    assert (login.folder / "qstat.calls").read_text().split()[1:] == ["-x", "-f", "1"]


@pytest.mark.parametrize(
    ("version", "select", "words"),
    [
        (PRO, "select=2:ncpus=4:mem=3072mb:ngpus=1", "-l select=2:ncpus=4:mem=3072mb:ngpus=1 -l place=scatter"),
        (TORQUE, "select=2:ncpus=4:mem=3072mb:ngpus=1", "-l nodes=2:ppn=4:gpus=1,mem=6144mb"),
        (TORQUE, "select=1:ncpus=2", "-l nodes=1:ppn=2"),
    ],
)
def test_torque_is_asked_for_nodes_in_its_own_words(login: Login, version: str, select: str, words: str) -> None:
    login.command("qstat", version=version)
    login.command("qsub", "17.pbs01\n")
    place = "-l place=scatter" if select.startswith("select=2") else ""
    done = login.run("pbs", f"name=w folder=/tmp; queue_submit /tmp/batch -l {select} {place} -q gpu")
    assert (done.stdout, done.returncode) == ("17\n", 0)
    call = (login.folder / "qsub.calls").read_text()
    assert call.strip().endswith(f"-N w -S /bin/sh -o /dev/null -e /dev/null {words} -q gpu /tmp/batch")


def test_a_pbs_without_history_leaves_the_end_open(login: Login) -> None:
    login.command("qstat", stderr="qstat: PBS is not configured to maintain job history\n", code=1, version=PRO)
    assert login.kept("pbs", 1, "waaaaaaaaaaaaaa") == ""


def test_grid_engine_lists_states_and_the_folders_of_what_is_held(login: Login) -> None:
    login.command("qstat", (DATA / "sge-8.1.9-list.xml").read_text())
    (login.folder / "qstat.jobs").write_text((DATA / "sge-8.1.9-jobs.txt").read_text())
    script = login.folder / "qstat"
    script.write_text(
        script.read_text().replace('cat "$0.out"', 'case $1 in -j) cat "$0.jobs";; *) cat "$0.out";; esac')
    )
    assert login.listed("sge") == [
        ["4", "RUNNING", "waaaaaaaaaaaaaa", "localhost", "", "r"],
        ["7", "SUSPENDED", "wbbbbbbbbbbbbbb", "localhost", "", "s"],
        ["5", "LAUNCH_FAILED", "wcccccccccccccc", "-", "", "Eqw"],
        ["6", "PENDING", "wdddddddddddddd", "-", "wlm:/tmp/sge/a b,c", "JobHeldUser"],
        ["8", "PENDING", "weeeeeeeeeeeeee", "-", "", "qw"],
    ]
    assert "-j 6\n" in (login.folder / "qstat.calls").read_text()


@pytest.mark.parametrize(
    ("text", "code"), [("", 1), ("error: commlib error: got select error", 1), ("<job_info>\n", 0)]
)
def test_half_a_listing_of_grid_engine_is_none(login: Login, text: str, code: int) -> None:
    login.command("qstat", text, code=code)
    assert login.refuses_to_list("sge")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("waaaaaaaaaaaaaa", "FAILED 0, exit status 3"),
        ("wbbbbbbbbbbbbbb", "TIMEOUT 37  : qmaster enforced h_rt, h_cpu, or h_vmem limit"),
        ("wcccccccccccccc", "FAILED 100 : assumedly after job, exit status 137"),
        ("wdddddddddddddd", "NODE_FAIL 28  : changing into working directory"),
        ("wzzzzzzzzzzzzzz", ""),
    ],
)
def test_the_accounting_of_grid_engine_says_how_a_job_ended(login: Login, name: str, told: str) -> None:
    records = (DATA / "sge-8.1.9-accounting.txt").read_text().split("=" * 62 + "\n")
    login.command("qacct", next((record for record in records if name in record), ""))
    assert login.kept("sge", 2, name) == told


def test_a_job_that_grid_engine_submits_though_it_refuses_it_is_removed(login: Login) -> None:
    warned = "Unable to run job: warning: u is not allowed to run in any queue"
    said = f'{warned}\nYour job 17 ("w") has been submitted\nExiting.\n'
    login.command("qsub", stderr=said, code=1)
    login.command("qdel")
    done = login.run("sge", "name=w folder=/x; queue_submit /x/batch")
    assert done.returncode == 1
    assert done.stderr == f"{warned}\nExiting.\n"
    assert (login.folder / "qdel.calls").read_text().split()[1:] == ["17"]


def test_what_slurm_shows_as_running_a_minute_after_its_end_is_removed(login: Login, tmp_path: Path) -> None:
    ended, runs, rows = tmp_path / "ended", tmp_path / "runs", ""
    for number, folder in enumerate((ended, runs), 7):
        folder.mkdir()
        (folder / "fence").write_text("host boot 1 2 nonce\n")
        rows += f"{number}|RUNNING|w{'a' * 14}_N/A|n1|wlm:{folder}|None\n"
    (ended / "exit").write_text("wlm1 0 nonce 0 0 0 self end\n")
    login.command("squeue", rows)
    login.command("scancel")
    look = program(PLUGINS / "batch_slurm", "folder", "listing", "judge") + "nonce=x settle=60\nlist && sweep_living"
    for _ in range(2):
        assert login.run("slurm", look).returncode == 0
        assert not (tmp_path / "scancel.calls").exists(), "its end may be on its way to Slurm"
    os.utime(ended / "left", (0, 0))
    login.run("slurm", look)
    assert (tmp_path / "scancel.calls").read_text().split()[1:] == ["7"]
    assert (ended / "swept").read_text() == "ENDED -\n", "that it was cancelled is no word for its end"


@pytest.mark.parametrize(
    ("begun_s_ago", "booted_s_ago", "told_s_ago", "said"),
    [
        (100, 30, 0, "ABSENT -"),
        (100, 200, 0, "CANCELLED None"),
        (4_000, 3_000, 0, "CANCELLED None"),
        (100, 30, 60, "CANCELLED None"),
    ],
)
def test_what_slurm_cancels_after_a_restart_since_it_has_forgotten_its_start_is_nobodys_cancel(
    login: Login, tmp_path: Path, begun_s_ago: int, booted_s_ago: int, told_s_ago: int, said: str
) -> None:
    job, now_s = tmp_path / "job", int(time.time())
    job.mkdir()
    (job / "fence").write_text("host boot 1 2 nonce\n")
    os.utime(job / "fence", (now_s - begun_s_ago, now_s - begun_s_ago))
    (job / "gone").write_text("CANCELLED None\n")
    os.utime(job / "gone", (now_s - told_s_ago, now_s - told_s_ago))
    login.command("squeue", f"7|CANCELLED|w{'a' * 14}_N/A|n1|wlm:{job}|None\n")
    booted = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now_s - booted_s_ago))
    login.command("scontrol", f"BOOT_TIME               = {booted}\n")
    look = program(PLUGINS / "batch_slurm", "folder", "listing", "judge")
    values = f"nonce=x settle=0 lost_after=0\nlist && judge {job} w{'a' * 14}\n"
    assert login.run("slurm", f"{look}{values}echo $verdict").stdout == "lost\n"
    assert (job / "gone").read_text() == f"{said}\n"


def test_lsf_lists_states_and_reasons(login: Login) -> None:
    login.command("bjobs", (DATA / "lsf-list.txt").read_text())
    rows = login.listed("lsf")
    assert [(row[0], row[1]) for row in rows] == [
        ("764213236", "TIMEOUT"), ("764220165", "PENDING"), ("764220167", "PENDING"), ("764254593", "RUNNING"),
        ("764245175", "SUSPENDED"), ("764399747", "COMPLETED"), ("764399748", "OUT_OF_MEMORY"),
        ("764399749", "CANCELLED"), ("764399750", "PREEMPTED"), ("764399751", "FAILED"),
    ]  # fmt: skip
    assert [row[5] for row in rows[1:3]] == ["New job is waiting for scheduling;", "JobHeldUser"]
    assert rows[3][2:5] == ["wdddddddddddddd", "lxbsu2710", "wlm:/scratch/d"]


def test_lsf_without_jobs_is_a_whole_listing_and_lsf_that_is_away_is_none(login: Login) -> None:
    login.command("bjobs", stderr="No job found\n", code=255)
    assert login.listed("lsf") == []
    login.command("bjobs", stderr="LSF is down. Please wait ...\n", code=255)
    assert login.refuses_to_list("lsf")
    login.command("bjobs", "1|RUN|waaaaaaaaaaaaaa|n1|wlm:/x|-|-\n", "mbatchd is not responding\n", 255)
    assert login.refuses_to_list("lsf")


WANTED = Resources(cpus=4, memory_bytes=3 * 1024**3, gpus=1, walltime_s=5400, nodes=2)


@pytest.mark.parametrize(
    ("system", "options", "words"),
    [
        (
            "pbs",
            {"queue": "gpu", "account": "p1", "extra": ["-W", "umask=027"]},
            "-l select=2:ncpus=4:mem=3072mb:ngpus=1 -l place=scatter -l walltime=01:30:00 -q gpu -A p1 -W umask=027",
        ),
        (
            "sge",
            {"queue": "gpu", "parallel_environment": "mpi", "memory_resource": "h_vmem"},
            "-pe mpi 8 -l h_vmem=768M -l gpu=1 -l h_rt=5400 -q gpu",
        ),
        (
            "lsf",
            {"project": "p1"},
            "-n 8 -R span[ptile=4] -M 3072MB -R rusage[mem=3072MB] -gpu num=1 -W 90 -P p1",
        ),
    ],
)
def test_resources_and_options_become_words_of_the_submitting_command(
    system: str, options: dict[str, object], words: str
) -> None:
    batch = batch_factory(system)(Machine("m"), options)
    assert isinstance(batch, QueueBatch)
    job = BatchJob("0" * 32, "e", "t", 1, "/f", "/d", "true", resources=WANTED)
    assert " ".join(batch.words(job, batch.options)) == words


@pytest.mark.parametrize(
    ("system", "extra", "because"),
    [
        ("pbs", ["-ry"], "would run twice"),
        ("pbs", ["-J", "1-3"], "foreach makes the instances"),
        ("pbs", ["-Wblock=true"], "wlmctl watches the job"),
        ("pbs", ["-l", "mem=1gb", "other.sh"], "expected an option of qsub, or its value"),
        ("pbs", ["-l"], "expected a value of qsub behind it"),
        ("sge", ["-r", "y"], "would run twice"),
        ("sge", ["-t", "1-3"], "foreach makes the instances"),
        ("sge", ["-notify"], "its signals would end the job"),
        ("lsf", ["-r"], "would run twice"),
        ("lsf", ["-J", "a[1-3]"], "wlmctl finds its jobs by their names"),
        ("lsf", ["-Is"], "the task's command is the script"),
    ],
)
def test_words_that_would_take_the_job_from_us_are_refused_with_the_reason(
    system: str, extra: list[str], because: str
) -> None:
    with pytest.raises(ConfigError, match=f"machines.m.batch_options.extra: .*{because}"):
        batch_factory(system)(Machine("m"), {"extra": extra})


def test_a_place_that_the_user_says_is_the_only_one() -> None:
    batch = batch_factory("pbs")(Machine("m"), {"extra": ["-l", "place=excl"]})
    assert isinstance(batch, QueueBatch)
    job = BatchJob("0" * 32, "e", "t", 1, "/f", "/d", "true", resources=WANTED)
    assert [word for word in batch.words(job, batch.options) if "place" in word] == ["place=excl"]


def test_several_cpus_on_grid_engine_need_a_parallel_environment() -> None:
    batch = batch_factory("sge")(Machine("m"), {})
    job = BatchJob("0" * 32, "e", "t", 1, "/f", "/d", "true", resources=Resources(cpus=2))
    with pytest.raises(TaskFailed, match=r"batch.sge.parallel_environment: missing, and needed for 2 cpus"):
        batch.submit(job)


@pytest.mark.parametrize(
    ("system", "text", "capacity"),
    [
        (
            "pbs",
            "n1\n     Mom = n1\n     ntype = PBS\n     resources_available.mem = 24gb\n"
            "     resources_available.ncpus = 8\n     resources_available.ngpus = 2\n\nn2\n"
            "     resources_available.mem = 65840kb\n     resources_available.ncpus = 16\n",
            Capacity(16, 24 * 1024**3, 2),
        ),
        (
            "pbs",
            "n1\n     state = free\n     np = 8\n     status = opsys=linux,physmem=65840kb,ncpus=8\n     gpus = 0\n",
            Capacity(8, 65840 * 1024, 0),
        ),
        ("sge", (DATA / "sge-8.1.9-hosts.txt").read_text(), Capacity(2, int(23.5 * 1024**3))),
        (
            "lsf",
            "HOST_NAME      type    model  cpuf ncpus maxmem maxswp server RESOURCES\n"
            "n1           X86_64 Intel_EM  60.0    32 257815M      -    Yes (mg)\nc1 X86_64 PC 1.0 - - - No ()\n",
            Capacity(32, 257815 * 1024**2),
        ),
    ],
)
def test_the_largest_node_is_what_a_job_may_ask_for(system: str, text: str, capacity: Capacity) -> None:
    batch = batch_factory(system)(Machine("m"), {})
    assert isinstance(batch, TellsCapacity)
    assert batch.told_capacity(Completed(0, text.encode(), b"")) == capacity
    assert batch.told_capacity(Completed(1, text.encode(), b"")) == Capacity()
