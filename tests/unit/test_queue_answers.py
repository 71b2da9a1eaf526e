"""A queue's word for the end of a job, as a class of failures and a reason."""

from __future__ import annotations

import pytest

from wlmctl.jobs.queue.answers import judge_of
from wlmctl.jobs.sections import Section
from wlmctl.task import Done, Failed, PollAnswer

REF = {"folder": "/f", "token": "t", "name": "w", "walltime_s": 60}


@pytest.mark.parametrize(
    ("state", "failure_class", "reason"),
    [
        ("TIMEOUT", "time", "exceeded its walltime of 60 s (Slurm: TIMEOUT)"),
        ("DEADLINE", "time", "exceeded its walltime of 60 s (Slurm: DEADLINE)"),
        ("OUT_OF_MEMORY", "memory", "was killed because memory ran out (Slurm: OUT_OF_MEMORY)"),
        ("PREEMPTED", "preempted", "preempted by Slurm"),
        ("NODE_FAIL", "infra", "its node failed (Slurm: NODE_FAIL)"),
        ("BOOT_FAIL", "infra", "its node failed (Slurm: BOOT_FAIL)"),
    ],
)
@pytest.mark.parametrize("words", ["lost", "wlm1 0 n 0 0 0 self end", "wlm1 137 n 0 0 0 self end"])
def test_the_word_of_the_queue_counts_with_and_without_an_exit_file(
    state: str, failure_class: str, reason: str, words: str
) -> None:
    section = Section(words=words.split(), state=state, said="by 1000")
    answer = judge_of("Slurm")(REF, section)
    assert isinstance(answer, Failed)
    assert (answer.failure_class, answer.reason) == (failure_class, reason)


def judged(state: str, exit_line: str, stderr: bytes = b"") -> PollAnswer:
    return judge_of("Slurm")(REF, Section(words=exit_line.split(), state=state, stderr=stderr))


@pytest.mark.parametrize("words", ["lost", "wlm1 137 n 0 0 0 self end", "wlm1 0 n 1 0 0 self end"])
def test_a_cancel_in_the_queue_is_believed_unless_the_command_ended_without_any_signal(words: str) -> None:
    answer = judge_of("Slurm")(REF, Section(words=words.split(), state="CANCELLED", said="by 1000"))
    assert isinstance(answer, Failed)
    expected = ("cancelled", "cancelled in Slurm, not by wlmctl: by 1000")
    assert (answer.failure_class, answer.reason) == expected
    assert isinstance(judged("CANCELLED", "wlm1 0 n 0 0 0 self end"), Done), "a controller had forgotten that it runs"
    answer = judged("CANCELLED", "wlm1 3 n 0 0 0 self end")
    assert isinstance(answer, Failed)
    assert (answer.failure_class, answer.exit_code) == ("user", 3)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "COMPLETING", "RUNNING", "ABSENT", ""])
def test_other_words_leave_it_to_the_exit_file_and_the_log(state: str) -> None:
    step = b"slurmstepd: error: Detected 1 oom_kill event in StepId=12.0.\n"
    assert isinstance(judged(state, "wlm1 0 n 0 0 0 self end"), Done)
    for exit_line, stderr, expected in (
        ("wlm1 3 n 0 0 0 self end", b"no mesh\n", ("user", "exit code 3: no mesh")),
        ("wlm1 137 n 0 0 1 self end", b"", ("memory", "was killed because memory ran out")),
        ("wlm1 143 n 1 1 0 self end", b"", ("time", "exceeded its walltime of 60 s")),
        ("wlm1 137 n 0 0 0 self end", step, ("memory", f"killed by SIGKILL (exit code 137): {step.decode().strip()}")),
    ):
        answer = judged(state, exit_line, stderr)
        assert isinstance(answer, Failed)
        assert (answer.failure_class, answer.reason) == expected


def test_who_killed_a_job_that_the_queue_has_forgotten_is_not_known() -> None:
    answer = judged("ABSENT", "wlm1 143 n 1 0 0 self end")
    assert isinstance(answer, Failed)
    assert answer.failure_class == "infra"
    assert answer.reason == "was killed, and Slurm does not know it any more (exit code 143)"
