"""What a job has written over its exit file costs its own attempt, and no answer about another one."""

from __future__ import annotations

import pytest
from wlmctl_batch_shell.answers import judged

from wlmctl.jobs.queue.answers import judge_of
from wlmctl.jobs.sections import Judge, answers
from wlmctl.task import Done, Failed, FailureClass
from wlmctl.transport import Completed

SIGN = b"0123456789abcdef" * 2


@pytest.mark.parametrize("judge", [judged, judge_of("Slurm")])
@pytest.mark.parametrize("code", [b"\xff", b"9" * 5000, b"99999999999999999999", b"-1"])
def test_an_exit_file_that_is_damaged_is_that_of_its_own_job(judge: Judge, code: bytes) -> None:
    lines = [b"exit 0 0 wlm1 " + code + b" n 0 0 0 self end", b"exit 1 0 wlm1 0 n 0 0 0 self end", b"end"]
    stdout = b"wlm-begin " + SIGN + b"".join(b"\n" + SIGN + b" " + line for line in lines) + b"\n"
    jobs = {name: {"folder": "/f", "token": name} for name in ("damaged", "whole")}
    found = answers(jobs, Completed(0, stdout, b""), judge)
    assert isinstance(damaged := found["damaged"], Failed)
    assert (damaged.reason, damaged.failure_class) == ("its exit file is damaged", FailureClass.INFRA)
    assert isinstance(found["whole"], Done)
