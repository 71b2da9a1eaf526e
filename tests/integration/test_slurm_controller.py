"""A slurmctld that forgets, is away, answers late, half or not at all: no job runs twice, and its true end is told."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.services.altered_texts import AlteredTexts
from tests.services.commands_only import CommandsOnly
from tests.services.processes import kill, wrapper_of
from tests.services.queued_jobs import ONCE, release
from tests.services.slurm import Slurm, open_slurm, require_slurm
from tests.waiting import wait_until
from wlmctl.batch import BatchJob, JobRef, SubmitsMany
from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.task import Done, Failed, FailureClass, Gone, Running, Unknown
from wlmctl.testing.batch import Jobs

#: Seconds after which a client gives an answer up, and for which what it has sent counts.
MESSAGE_S, LIFE_S = 3, 8

CLUSTER = Machine("cluster", kill_grace_s=1.0, shell="sh")
LATER = {"extra": ["--begin=now+1hour"]}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    require_slurm()
    folder = tmp_path_factory.mktemp("slurm")
    lines = [
        f"MessageTimeout={MESSAGE_S}",
        f"AuthInfo=socket={folder}/munge.socket,ttl={LIFE_S}",
        "MinJobAge=2",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "PartitionName=urgent Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP MaxTime=INFINITE",
    ]
    with open_slurm(folder, lines) as slurm:
        yield slurm


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlteredTexts]:
    altered = AlteredTexts(monkeypatch)
    yield altered
    altered.restore()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder before all others in the PATH of the login."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path, programs: Path) -> Jobs:
    environment = f"{slurm.environment}PATH={programs}:$PATH; "
    transport = CommandsOnly(transport_factory("local")(Machine("local"), {}), environment)
    return Jobs(batch_factory("slurm")(CLUSTER, {"lost_after": "2s"}), transport, str(tmp_path))


def slurm_id(job: BatchJob) -> str:
    return Path(job.folder, "jobid").read_text().strip()


def living(slurm: Slurm, ref: JobRef) -> list[str]:
    ended = ("COMPLETED", "CANCELLED", "FAILED", "PREEMPTED", "NODE_FAIL", "TIMEOUT")
    return [state for _, state, name in slurm.queue() if name == ref["name"] and state not in ended]


def ran(jobs: Jobs, job: BatchJob) -> str | None:
    return jobs.text(f"witness-{job.task}")


class Memory:
    """What the controller has stored, to be brought back: it has forgotten what came after that."""

    def __init__(self, slurm: Slurm, folder: Path) -> None:
        self._slurm, self._kept = slurm, folder / "kept"
        slurm.stop("slurmctld")
        shutil.copytree(slurm.folder / "state", self._kept)
        slurm.start_controller()

    def bring_back(self) -> None:
        self._slurm.kill("slurmctld")
        shutil.rmtree(self._slurm.folder / "state")
        shutil.copytree(self._kept, self._slurm.folder / "state")
        self._slurm.start_controller()


def test_numbers_that_are_forgotten_and_given_again_make_no_job_of_another(
    jobs: Jobs, slurm: Slurm, tmp_path: Path
) -> None:
    memory = Memory(slurm, tmp_path)
    forgotten = [jobs.job(ONCE, options=LATER) for _ in range(3)]
    refs = [jobs.submit(job) for job in forgotten]
    memory.bring_back()
    others = [jobs.job(ONCE) for _ in range(3)]
    later = [jobs.submit(job) for job in others]
    assert [slurm_id(job) for job in others] == [slurm_id(job) for job in forgotten], "the numbers were given again"
    for answer in jobs.ends({str(number): ref for number, ref in enumerate(refs)}).values():
        assert isinstance(answer, Failed)
        assert answer.failure_class is FailureClass.INFRA
        assert "never started: Slurm does not know it" in answer.reason
    assert isinstance(jobs.end_by_cancel(refs[0]), Gone | Failed)
    release(jobs)
    for answer in jobs.ends({str(number): ref for number, ref in enumerate(later)}).values():
        assert isinstance(answer, Done), "another's end is not theirs"
    assert [ran(jobs, job) for job in (*forgotten, *others)] == [None] * 3 + ["ran\n"] * 3


def test_a_job_whose_end_is_forgotten_is_started_again_by_slurm_and_runs_nothing(
    jobs: Jobs, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    job = jobs.job(ONCE)
    ref = jobs.submit(job)
    memory = Memory(slurm, tmp_path)
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    release(jobs)
    wait_until(lambda: Path(job.folder, "exit").exists(), "the job's end", 60)
    memory.bring_back()
    slurm.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert isinstance(jobs.end(ref), Done)
    slurm.undrain()
    jobs.end(jobs.start("true"))
    wait_until(lambda: not living(slurm, ref), "nothing of it in the queue", 60)
    assert ran(jobs, job) == "ran\n"


def test_a_job_that_slurm_shows_as_running_after_its_end_was_forgotten_leaves_the_queue(
    jobs: Jobs, slurm: Slurm, tmp_path: Path
) -> None:
    made = [jobs.job(ONCE), *(jobs.job(ONCE, group="task", pack=2) for _ in range(2))]
    many = {job.task: job for job in made}
    assert isinstance(jobs.batch, SubmitsMany)
    answers = jobs.batch.submitted_many(many, jobs.run(jobs.batch.submit_many(many)))
    refs = {key: ref for key, ref in answers.items() if not isinstance(ref, Exception)}
    for job in made[:2]:
        jobs.wait_for(f"witness-{job.task}")
    memory = Memory(slurm, tmp_path)
    release(jobs)
    assert {type(answer) for answer in jobs.ends(refs).values()} == {Done}
    memory.bring_back()
    assert living(slurm, refs[made[0].task]) == ["RUNNING"]
    slurm.undrain()
    (Path(jobs.scratch) / "work" / "go").unlink()

    def is_swept() -> bool:
        jobs.end(jobs.start("true"))
        return not [name for _, state, name in slurm.queue() if name.startswith("w") and state == "RUNNING"]

    wait_until(is_swept, "nothing of them in the queue", 60)
    assert {type(answer) for answer in jobs.ends(refs).values()} == {Done}, "what we remove is no word for its end"
    assert [ran(jobs, job) for job in made] == ["ran\n"] * 3


def test_numbers_after_a_reset_of_the_cluster_are_not_believed(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE, options=LATER)
    ref = jobs.submit(job)
    slurm.kill("slurmctld")
    shutil.rmtree(slurm.folder / "state")
    (slurm.folder / "state").mkdir()
    slurm.start_controller()
    slurm.undrain()
    others = [
        slurm.run("sbatch", "--parsable", "-H", "--output=/dev/null", "--wrap", "true").strip()
        for _ in range(int(slurm_id(job)))
    ]
    assert slurm_id(job) in others
    answer = jobs.end(ref)
    assert isinstance(answer, Failed)
    assert "never started" in answer.reason
    jobs.end_by_cancel(ref)
    assert {state for number, state, _ in slurm.queue() if number in others} == {"PENDING"}, "nobody else's is touched"
    slurm.run("scancel", *others)


def stopped_during_sbatch(jobs: Jobs, slurm: Slurm, texts: AlteredTexts, job: BatchJob) -> None:
    """The controller is stopped right before sbatch, which gives up."""
    texts.at("submit", 5, f"kill -STOP {slurm.pid('slurmctld')}")
    with pytest.raises(Broken):
        jobs.submit(job)
    texts.restore()


def go_on(slurm: Slurm) -> None:
    os.kill(slurm.pid("slurmctld"), signal.SIGCONT)


def test_a_job_that_comes_into_the_queue_after_its_sbatch_has_failed_is_taken_up(
    jobs: Jobs, slurm: Slurm, texts: AlteredTexts
) -> None:
    job = jobs.job(ONCE)
    stopped_during_sbatch(jobs, slurm, texts, job)
    go_on(slurm)
    ref = jobs.batch.reference(job)
    wait_until(lambda: living(slurm, ref) == ["PENDING"], "the late job", 30)
    jobs.submit(job)
    assert len(living(slurm, ref)) == 1
    release(jobs)
    assert isinstance(jobs.end(ref), Done)
    assert ran(jobs, job) == "ran\n"


def test_a_job_that_comes_into_the_queue_after_it_was_given_up_is_removed_and_never_runs(
    jobs: Jobs, slurm: Slurm, texts: AlteredTexts
) -> None:
    job = jobs.job(ONCE)
    ref = jobs.batch.reference(job)
    stopped_during_sbatch(jobs, slurm, texts, job)
    Path(job.folder, "cancel").touch()  # as a cancel that finds no controller leaves it
    Path(job.folder, "fence").write_text("sealed - - - 0\n")
    go_on(slurm)
    wait_until(lambda: living(slurm, ref) == ["PENDING"], "the late job", 30)
    jobs.end(jobs.start("true"))
    wait_until(lambda: not living(slurm, ref), "the next look removes it", 30)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    assert ran(jobs, job) is None


def test_what_was_sent_longer_ago_than_a_credential_lives_enters_no_queue(
    jobs: Jobs, slurm: Slurm, texts: AlteredTexts
) -> None:
    job = jobs.job(ONCE)
    ref = jobs.batch.reference(job)
    began_s = time.monotonic()
    stopped_during_sbatch(jobs, slurm, texts, job)
    wait_until(lambda: time.monotonic() - began_s > LIFE_S + 2, "the credential's end", 60)
    go_on(slurm)
    wait_until(lambda: "Expired" in (slurm.folder / "slurmctld.out").read_text(), "its refusal", 30)
    assert not living(slurm, ref)
    release(jobs)
    assert isinstance(jobs.end(jobs.submit(job)), Done)
    assert ran(jobs, job) == "ran\n"


@pytest.mark.timeout(300)
def test_a_controller_that_is_down_for_minutes_costs_nothing(jobs: Jobs, slurm: Slurm) -> None:
    job, waits = jobs.job(ONCE), jobs.job(ONCE, options={"extra": ["--begin=now+30"]})
    refs = {"runs": jobs.submit(job), "waits": jobs.submit(waits)}
    jobs.wait_for(f"witness-{job.task}")
    slurm.stop("slurmctld")  # killed it would forget them
    until_s = time.monotonic() + 100
    release(jobs)
    while time.monotonic() < until_s:
        assert {type(answer) for answer in jobs.poll(refs, 1.0).values()} == {Unknown}
    slurm.start_controller()
    assert {type(answer) for answer in jobs.ends(refs).values()} == {Done}
    assert (ran(jobs, job), ran(jobs, waits)) == ("ran\n", "ran\n")


HALF = '#!/bin/sh\n/usr/bin/squeue "$@" | head -n 1\nexit 1\n'
FAILS = "#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1\n"
HANGS = "#!/bin/sh\nexec sleep 600\n"


@pytest.mark.parametrize("squeue", [HALF, FAILS, HANGS], ids=["half", "fails", "hangs"])
def test_a_squeue_that_fails_says_nothing_about_any_job(
    jobs: Jobs, slurm: Slurm, programs: Path, texts: AlteredTexts, squeue: str
) -> None:
    running, waiting = jobs.job(ONCE), jobs.job(ONCE, options=LATER)
    refs = {"running": jobs.submit(running), "waiting": jobs.submit(waiting)}
    jobs.wait_for(f"witness-{running.task}")
    (programs / "squeue").write_text(squeue)
    (programs / "squeue").chmod(0o755)
    texts.replace("queue", "timeout 60 squeue", "timeout 2 squeue")
    assert {type(answer) for answer in jobs.poll(refs).values()} == {Unknown}
    new = jobs.job(ONCE)
    with pytest.raises(Broken):
        jobs.submit(new)
    assert isinstance(jobs.cancel(refs["waiting"]), Unknown), "no cancel is proven by a listing that is not whole"
    (programs / "squeue").unlink()
    texts.restore()
    assert not Path(new.folder, "fence").exists(), "nothing was given up"
    assert isinstance(jobs.end_by_cancel(refs["waiting"]), Gone)
    release(jobs)
    assert isinstance(jobs.end(refs["running"]), Done)
    assert isinstance(jobs.end(jobs.submit(new)), Done)
    assert [ran(jobs, job) for job in (running, waiting, new)] == ["ran\n", None, "ran\n"]


@pytest.mark.parametrize(
    "said",
    [
        "Batch job submission failed: Transport endpoint is not connected",
        "Batch job submission failed: Zero Bytes were transmitted or received",
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "Batch job submission failed: Slurm backup controller in standby mode",
    ],
)
def test_what_sbatch_says_of_a_controller_that_goes_away_is_no_refusal(
    jobs: Jobs, slurm: Slurm, programs: Path, said: str
) -> None:
    (programs / "sbatch").write_text(f"#!/bin/sh\necho 'sbatch: error: {said}' >&2\nexit 1\n")
    (programs / "sbatch").chmod(0o755)
    job = jobs.job(ONCE)
    with pytest.raises(Broken):
        jobs.submit(job)
    (programs / "sbatch").unlink()
    release(jobs)
    assert isinstance(jobs.end(jobs.submit(job)), Done)
    assert ran(jobs, job) == "ran\n"


def test_a_preempted_job_ends_with_that_class_and_is_not_run_again_by_slurm(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE, options={"extra": ["--exclusive", "--nodelist=n1"]})
    ref = jobs.submit(job)
    jobs.wait_for(f"witness-{job.task}")
    words = ("--partition=urgent", "--exclusive", "--nodelist=n1", "--output=/dev/null", "--wrap", "sleep 1")
    slurm.run("sbatch", *words)
    answer = jobs.end(ref)
    assert isinstance(answer, Failed)
    assert (answer.failure_class, answer.reason) == (FailureClass.PREEMPTED, "preempted by Slurm")
    wait_until(lambda: not living(slurm, ref), "it is not in the queue any more", 30)
    assert ran(jobs, job) == "ran\n"


def test_a_dependency_that_is_never_satisfied_is_a_wait_with_slurms_own_word(jobs: Jobs, slurm: Slurm) -> None:
    other = slurm.run("sbatch", "--parsable", "-H", "--output=/dev/null", "--wrap", "false").strip()
    job = jobs.job(ONCE, options={"extra": [f"--dependency=afterok:{other}"]})
    ref = jobs.submit(job)
    slurm.run("scontrol", "release", other)
    said = Running(started=False, reason="DependencyNeverSatisfied")
    wait_until(lambda: jobs.state(ref) == said, "Slurm's word", 30)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    assert not living(slurm, ref)
    assert ran(jobs, job) is None


def wait_until_forgotten(slurm: Slurm, refs: Iterable[JobRef]) -> None:
    names = {ref["name"] for ref in refs}
    wait_until(lambda: not names & {name for *_, name in slurm.queue()}, "Slurm has forgotten them", 100)


def test_an_end_that_slurm_has_purged_is_told_by_the_jobs_own_file(jobs: Jobs, slurm: Slurm) -> None:
    good, killed = jobs.job("echo ran >> witness-$WLMCTL_TASK"), jobs.job(ONCE)
    refs = {"good": jobs.submit(good), "killed": jobs.submit(killed)}
    jobs.wait_for(f"witness-{killed.task}")
    kill(wrapper_of(killed.folder))
    wait_until_forgotten(slurm, refs.values())
    answers = jobs.ends(refs)
    release(jobs)
    assert isinstance(answers["good"], Done)
    lost = answers["killed"]
    assert isinstance(lost, Failed)
    assert lost.failure_class is FailureClass.INFRA
    assert lost.reason == "lost: Slurm does not know it any more, no exit file and no sign of life"


def test_an_end_that_slurm_has_purged_is_told_by_its_accounting_where_there_is_one(
    jobs: Jobs, slurm: Slurm, programs: Path
) -> None:
    killed, other = jobs.job(ONCE), jobs.job(ONCE)
    refs = {"killed": jobs.submit(killed), "other": jobs.submit(other)}
    # there is no slurmdbd here: what it would tell, of a number that another job had before
    lines = [f"{refs['killed']['name']}|OUT_OF_MEMORY", "wabcdefghijklmn|CANCELLED by 0"]
    (programs / "sacct").write_text(f"#!/bin/sh\nprintf '%s\\n' '{lines[1]}' '{lines[0]}' '{lines[1]}'\n")
    (programs / "sacct").chmod(0o755)
    for job in (killed, other):
        jobs.wait_for(f"witness-{job.task}")
        kill(wrapper_of(job.folder))
    wait_until_forgotten(slurm, refs.values())
    answers = jobs.ends(refs)
    release(jobs)
    classes = {key: answer.failure_class for key, answer in answers.items() if isinstance(answer, Failed)}
    assert classes == {"killed": FailureClass.MEMORY, "other": FailureClass.INFRA}


def test_an_exit_file_that_is_seen_late_is_waited_for(jobs: Jobs, slurm: Slurm, texts: AlteredTexts) -> None:
    # as on a network file system: what the node has written is seen here only after Slurm's word for the end
    texts.replace("wrapper", 'self end" >exit; do', 'self end" >unseen; do')
    patient = Jobs(batch_factory("slurm")(CLUSTER, {"lost_after": "20s"}), jobs.transport, jobs.scratch)
    job = patient.job("echo ran >> witness-$WLMCTL_TASK")
    ref = patient.submit(job)
    wait_until(lambda: not living(slurm, ref), "Slurm's end of it", 30)
    for _ in range(3):
        assert isinstance(patient.state(ref), Running | Unknown), "ended in Slurm, and not lost"
    Path(job.folder, "unseen").rename(Path(job.folder, "exit"))
    assert isinstance(patient.end(ref), Done)
    assert ran(jobs, job) == "ran\n"


def test_a_node_that_is_cut_off_ends_nothing_while_its_first_run_works_on(jobs: Jobs, slurm: Slurm) -> None:
    job = jobs.job(ONCE, options={"extra": ["--nodelist=n2"]})
    ref = jobs.submit(job)
    jobs.wait_for(f"witness-{job.task}")
    slurm.kill("n2")
    slurm.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=cut off")
    wait_until(lambda: not living(slurm, ref), "Slurm gives it up", 30)
    until_s = time.monotonic() + 5
    while time.monotonic() < until_s:  # more than twice as long as what is silent counts as lost
        assert isinstance(jobs.state(ref), Running | Unknown)
        time.sleep(0.5)
    release(jobs)
    answer = jobs.end(ref)
    slurm.start_node("n2")
    slurm.run("scontrol", "update", "NodeName=n2", "State=RESUME")
    assert isinstance(answer, Failed)
    assert (answer.failure_class, answer.exit_code) == (FailureClass.INFRA, 0)
    assert ran(jobs, job) == "ran\n"
