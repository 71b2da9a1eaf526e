"""How jobs fail on a real Slurm, and with which class and words that is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.services.queued_jobs import queued_jobs
from tests.services.slurm import Slurm, open_slurm, require_slurm
from wlmctl.batch import BatchJob, JobRef
from wlmctl.task import Failed, FailureClass, Resources
from wlmctl.testing.batch import Jobs

MIB = 1024**2
EATS = "python3 -c 'import time; eaten = bytearray(400 << 20); time.sleep(60)'"
ONCE = "echo ran > began-$WLMCTL_TASK; while ! [ -e go ]; do sleep 0.1; done"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster that ends jobs which take more memory than they asked for, and preempts."""
    require_slurm()
    lines = [
        "SelectTypeParameters=CR_CPU_Memory",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=task=1",
        "JobAcctGatherParams=OverMemoryKill",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "PartitionName=urgent Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF State=UP MaxTime=INFINITE",
    ]
    with open_slurm(tmp_path_factory.mktemp("slurm"), lines) as slurm:
        yield slurm


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return queued_jobs("slurm", slurm.environment, tmp_path)


def begun(jobs: Jobs, script: str = ONCE, **more: Any) -> tuple[BatchJob, JobRef]:
    """A job whose command runs."""
    job = jobs.job(script, **more)
    ref = jobs.submit(job)
    jobs.wait_for(f"began-{job.task}")
    return job, ref


def failure(jobs: Jobs, ref: JobRef) -> tuple[FailureClass, str]:
    answer = jobs.end(ref)
    assert isinstance(answer, Failed), answer
    return answer.failure_class, answer.reason


def test_a_step_over_its_memory_is_a_memory_failure_in_slurms_own_words(jobs: Jobs) -> None:
    ref = jobs.submit(jobs.job(f"srun --mem=100M {EATS}", resources=Resources(memory_bytes=300 * MIB)))
    failure_class, reason = failure(jobs, ref)
    assert failure_class is FailureClass.MEMORY, reason
    assert re.search(r": slurmstepd\S*: error: StepId=\S+ exceeded memory limit \(.*\), being killed$", reason), reason


def test_a_program_that_is_refused_memory_is_a_memory_failure_in_its_own_words(jobs: Jobs) -> None:
    ref = jobs.submit(jobs.job(f"ulimit -v 200000; {EATS}"))
    assert failure(jobs, ref) == (FailureClass.MEMORY, "exit code 1: MemoryError")


def test_the_time_limit_of_slurm_is_a_time_failure_in_slurms_own_word(jobs: Jobs) -> None:
    patient = replace(jobs, end_timeout_s=150)
    ref = jobs.submit(jobs.job(ONCE, options={"extra": ["--time=1"]}))
    assert failure(patient, ref) == (FailureClass.TIME, "exceeded its walltime (Slurm: TIMEOUT)")


def test_a_preemption_is_a_class_of_its_own(jobs: Jobs, slurm: Slurm) -> None:
    _, ref = begun(jobs, options={"extra": ["--exclusive", "--nodelist=n1"]})
    words = ("--partition=urgent", "--exclusive", "--nodelist=n1", "--output=/dev/null", "--wrap", "sleep 1")
    slurm.run("sbatch", *words)
    assert failure(jobs, ref) == (FailureClass.PREEMPTED, "preempted by Slurm")


def test_a_node_that_goes_down_is_a_failure_of_the_infrastructure(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    node = slurm.run("squeue", "-h", "-j", Path(job.folder, "jobid").read_text().strip(), "-o", "%N").strip()
    slurm.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        assert failure(jobs, ref) == (FailureClass.INFRA, "its node failed (Slurm: NODE_FAIL)")
    finally:
        slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        Path(jobs.scratch, "work/go").touch()


def test_a_cancel_by_others_and_an_exit_code_are_told_as_what_they_are(jobs: Jobs, slurm: Slurm) -> None:
    job, ref = begun(jobs)
    slurm.run("scancel", Path(job.folder, "jobid").read_text().strip())
    assert failure(jobs, ref) == (FailureClass.CANCELLED, "cancelled in Slurm, not by wlmctl")
    ref = jobs.submit(jobs.job("echo the mesh has no cells >&2; exit 3"))
    assert failure(jobs, ref) == (FailureClass.USER, "exit code 3: the mesh has no cells")
