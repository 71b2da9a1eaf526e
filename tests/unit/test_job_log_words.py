"""What the end of a job's log says of why it failed."""

from __future__ import annotations

import pytest

from wlmctl.jobs.log_words import told
from wlmctl.task import FailureClass


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (
            FailureClass.MEMORY,
            "slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch. Some of the step tasks",
        ),
        (FailureClass.MEMORY, "slurmstepd: error: Detected 2 oom-kill event(s) in step 3.0 cgroup."),
        (FailureClass.MEMORY, "slurmstepd-n1: error: StepId=1.0 exceeded memory limit (2 > 1), being killed"),
        (FailureClass.MEMORY, "slurmstepd: error: Exceeded job memory limit"),
        (FailureClass.MEMORY, "srun: error: n1: task 0: Out Of Memory"),
        (FailureClass.MEMORY, "=>> PBS: job killed: mem 1048576kb exceeded limit 524288kb"),
        (FailureClass.MEMORY, "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."),
        (FailureClass.MEMORY, "MemoryError"),
        (FailureClass.MEMORY, "numpy.core._exceptions._ArrayMemoryError: Unable to allocate 3.7 TiB"),
        (FailureClass.MEMORY, "terminate called after throwing an instance of 'std::bad_alloc'"),
        (FailureClass.MEMORY, 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space'),
        (FailureClass.MEMORY, "Error: cannot allocate vector of size 7.5 Gb"),
        (FailureClass.MEMORY, "bash: fork: Cannot allocate memory"),
        (
            FailureClass.TIME,
            "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-02T03:04:05 DUE TO TIME LIMIT ***",
        ),
        (FailureClass.TIME, "=>> PBS: job killed: walltime 66 exceeded limit 60"),
        (FailureClass.TIME, "TERM_RUNLIMIT: job killed after reaching LSF run time limit."),
        (FailureClass.PREEMPTED, "slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT ... DUE TO PREEMPTION ***"),
        (
            FailureClass.INFRA,
            "srun: error: *** STEP 1.0 ON n1 CANCELLED AT ... DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***",
        ),
    ],
)
def test_a_line_of_a_batch_system_or_a_runtime_stands_for_a_class(failure: FailureClass, line: str) -> None:
    log = f"starting\n{line}\nsrun: Job step aborted: Waiting up to 32 seconds for job step to finish.\n"
    assert told(log.encode()) == (failure, line)


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"\xff\xfe no text\n",
        b"the solver ran out of iterations\n",
        b"hint: a MemoryError may follow\n",
        b"I was CANCELLED DUE TO TIME LIMIT of my own\n",
        b"MemoryError\n" + 20_000 * b"x",
    ],
)
def test_other_words_and_those_of_long_ago_stand_for_nothing(log: bytes) -> None:
    assert told(log) is None
