"""Many jobs by one command, arrays and packs: each job has an end, a cancel and a next attempt of its own."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.services.queued_jobs import queued_jobs
from tests.services.slurm import Slurm
from tests.waiting import wait_until
from wlmctl.batch import BatchJob, FindsJobs, JobRef, SubmitsMany
from wlmctl.errors import Broken, TaskFailed
from wlmctl.task import Done, Failed, FailureClass, Gone, PollAnswer, Resources, Running, Unknown
from wlmctl.testing.batch import Jobs
from wlmctl.transport import Completed

ONCE = "echo ran >> witness-$WLMCTL_TASK"
WAITS = f"{ONCE}; while ! [ -e go ]; do sleep 0.05; done"


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    return open_jobs(slurm, tmp_path)


def open_jobs(slurm: Slurm, folder: Path, path: str = "") -> Jobs:
    return queued_jobs("slurm", slurm.environment, folder, path=path)


def members(jobs: Jobs, count: int, script: str = ONCE, pack: int = 0) -> dict[str, BatchJob]:
    """Jobs of one task."""
    made = [jobs.job(script, group="task", pack=pack) for _ in range(count)]
    return {job.task: job for job in made}


def submit(jobs: Jobs, many: Mapping[str, BatchJob]) -> dict[str, JobRef | TaskFailed | Broken]:
    assert isinstance(jobs.batch, SubmitsMany)
    return dict(jobs.batch.submitted_many(many, jobs.run(jobs.batch.submit_many(many))))


def submitted(jobs: Jobs, many: Mapping[str, BatchJob]) -> dict[str, JobRef]:
    answers = submit(jobs, many)
    refs = {key: answer for key, answer in answers.items() if not isinstance(answer, Exception)}
    assert len(refs) == len(many), answers
    return refs


def ran(jobs: Jobs, names: Sequence[str]) -> dict[str, str | None]:
    """What the witness of each says."""
    return {name: jobs.text(f"witness-{name}") for name in names}


def codes(ends: Mapping[str, PollAnswer], names: Iterable[str]) -> list[int | None]:
    """The exit code of each."""
    return [end.exit_code for name in names if isinstance(end := ends[name], Done | Failed)]


def alive(slurm: Slurm) -> list[str]:
    """The numbers of what is in the queue and has not ended."""
    ended = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL")
    rows = slurm.run("squeue", "-a", "-r", "-h", "-t", "all", "-o", "%i %T").splitlines()
    return [number for number, state in map(str.split, rows) if state not in ended]


@contextmanager
def closed(slurm: Slurm) -> Iterator[None]:
    """Nothing starts."""
    slurm.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        yield
    finally:
        slurm.run("scontrol", "update", "PartitionName=main", "State=UP")


def release(jobs: Jobs) -> None:
    Path(jobs.scratch, "work/go").touch()


def test_many_jobs_go_by_one_command_and_each_has_its_own_answer(jobs: Jobs) -> None:
    many = {job.task: job for job in (jobs.job(ONCE), jobs.job("exit 3"), jobs.job(ONCE, options={"nope": 1}))}
    many["refused"] = jobs.job(ONCE, options={"partition": "nowhere"})
    many["odd"] = jobs.job('echo "$SHARE"', options={"extra": ["--export=ALL,SHARE=50%s"]})
    Path(jobs.scratch, "file").touch()
    many["homeless"] = jobs.job(ONCE, folder=f"{jobs.scratch}/file/1")
    answers = submit(jobs, many)
    assert str(answers["homeless"]).startswith("the folder of the job cannot be made: mkdir: ")
    assert str(answers["task-2"]).startswith("batch.slurm.nope: ")
    assert "invalid partition" in str(answers["refused"])
    refs = {key: answer for key, answer in answers.items() if not isinstance(answer, Exception)}
    ends = jobs.ends(refs)
    assert isinstance(ends["task-0"], Done)
    assert isinstance(ends["task-1"], Failed)
    assert ends["odd"].stdout == b"50%s\n"  # type: ignore[union-attr]
    assert ran(jobs, ["task-0", "refused"]) == {"task-0": "ran\n", "refused": None}


def test_of_an_answer_that_is_cut_off_what_is_not_told_is_broken(jobs: Jobs) -> None:
    many = {job.task: job for job in (jobs.job(ONCE), jobs.job(ONCE))}
    assert isinstance(jobs.batch, SubmitsMany)
    whole = jobs.run(jobs.batch.submit_many(many))
    cut = whole.stdout[: whole.stdout.rindex(b"\n")]
    answers = jobs.batch.submitted_many(many, Completed(0, cut, b""))
    assert [isinstance(answer, Broken) for answer in answers.values()] == [False, True]
    assert all(isinstance(end, Done) for end in jobs.ends(submitted(jobs, many)).values())
    assert ran(jobs, list(many)) == dict.fromkeys(many, "ran\n")


def test_a_text_that_is_cut_off_on_its_way_submits_nothing(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 6)
    assert isinstance(jobs.batch, SubmitsMany)
    command = jobs.batch.submit_many(many)
    before = {number for number, *_ in slurm.queue()}
    for part in (0.3, 0.6, 0.9, 0.999):
        cut = replace(command, stdin=command.stdin[: int(len(command.stdin) * part)])
        answers = jobs.batch.submitted_many(many, jobs.run(cut))
        assert all(isinstance(answer, Broken) for answer in answers.values())
    assert {number for number, *_ in slurm.queue()} <= before, "what has ended is forgotten meanwhile"


def test_alike_jobs_are_one_array_and_each_has_its_own_end(jobs: Jobs) -> None:
    many = members(jobs, 5)
    many["task-2"] = replace(many["task-2"], script="exit 4")
    refs = submitted(jobs, many)
    assert [ref["id"].partition("_")[2] for ref in refs.values()] == ["0", "1", "2", "3", "4"]
    assert len({ref["id"].partition("_")[0] for ref in refs.values()}) == 1
    ends = jobs.ends(refs)
    assert codes(ends, many) == [0, 0, 4, 0, 0]
    assert [*ran(jobs, list(many)).values()] == ["ran\n", "ran\n", None, "ran\n", "ran\n"]


@pytest.mark.long
def test_no_more_of_an_array_run_at_once_than_may(jobs: Jobs, slurm: Slurm) -> None:
    refs = submitted(jobs, {key: replace(job, together=2) for key, job in members(jobs, 4, WAITS).items()})
    number = refs["task-0"]["id"].partition("_")[0]
    wait_until(lambda: len(slurm.run("squeue", "-h", "-j", number, "-t", "R", "-o", "%i").split()) == 2, "two run")
    assert "ArrayTaskThrottle=2" in slurm.run("scontrol", "show", "job", number)
    release(jobs)
    assert all(isinstance(end, Done) for end in jobs.ends(refs).values())


def test_an_array_is_taken_up_by_submits_in_other_company(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 5)
    other = jobs.job(ONCE, group="task")
    with closed(slurm):
        refs = submitted(jobs, many)
        before = set(alive(slurm))
        again = submitted(jobs, {"task-3": many["task-3"], other.task: other})
        assert again["task-3"] == refs["task-3"]
        assert len(set(alive(slurm)) - before) == 1, "only the other one is new"
    assert all(isinstance(end, Done) for end in jobs.ends({**refs, **again}).values())
    assert set(ran(jobs, [*many, other.task]).values()) == {"ran\n"}


@pytest.mark.long
def test_elements_are_cancelled_one_by_one(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 5, WAITS)
    with closed(slurm):
        refs = submitted(jobs, many)
        assert isinstance(jobs.end_by_cancel(refs["task-0"]), Gone)
        array = refs["task-0"]["id"].partition("_")[0]
        assert len([number for number in alive(slurm) if number.startswith(f"{array}_")]) == 4
    jobs.wait_for("witness-task-1")
    assert isinstance(jobs.end_by_cancel(refs["task-1"]), Gone)
    release(jobs)
    ends = jobs.ends(refs)
    assert [type(ends[name]) for name in many] == [Gone, Gone, Done, Done, Done]
    assert [*ran(jobs, list(many)).values()] == [None, "ran\n", "ran\n", "ran\n", "ran\n"]


def test_an_element_that_an_administrator_requeues_runs_once(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 4, WAITS)
    refs = submitted(jobs, many)
    jobs.wait_for("witness-task-2")
    slurm.run("scontrol", "requeue", refs["task-2"]["id"])
    release(jobs)
    jobs.ends(refs)
    assert set(ran(jobs, list(many)).values()) == {"ran\n"}


@pytest.mark.long
def test_where_arrays_are_refused_the_jobs_go_singly(slurm: Slurm, tmp_path: Path) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        '#!/bin/sh\ncase "$*" in *--array*) echo "sbatch: error: Invalid job array specification" >&2; exit 1 ;; esac\n'
        'exec /usr/bin/sbatch "$@"\n'
    )
    sbatch.chmod(0o755)
    jobs = open_jobs(slurm, tmp_path, f'PATH="{sbatch.parent}:$PATH"; ')
    many = members(jobs, 4)
    refs = submitted(jobs, many)
    assert all(re.fullmatch("[0-9]+", ref["id"]) for ref in refs.values())
    assert all(isinstance(end, Done) for end in jobs.ends(refs).values())
    assert set(ran(jobs, list(many)).values()) == {"ran\n"}


def test_a_pack_runs_its_members_one_after_the_other_in_one_job(jobs: Jobs) -> None:
    alone = f"mkdir busy; sleep 0.2; echo out $WLMCTL_TASK; rmdir busy; {ONCE}"
    many = {**members(jobs, 3, alone, pack=3), **members(jobs, 2, pack=3)}
    many["task-1"] = replace(many["task-1"], script="echo bad >&2; exit 4")
    refs = submitted(jobs, many)
    assert [refs[f"task-{n}"]["pack"] == refs["task-0"]["pack"] for n in range(5)] == [True] * 3 + [False] * 2
    assert len({ref["id"] for ref in refs.values()}) == 2
    ends = jobs.ends(refs)
    assert codes(ends, many) == [0, 4, 0, 0, 0]
    assert ends["task-2"].stdout == b"out task-2\n"  # type: ignore[union-attr]
    assert submitted(jobs, many) == refs, "nothing is submitted again"
    assert set(ran(jobs, ["task-0", "task-2", "task-3", "task-4"]).values()) == {"ran\n"}


@pytest.mark.long
def test_members_of_a_pack_are_cancelled_one_by_one(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 3, WAITS, pack=3)
    refs = submitted(jobs, many)
    jobs.wait_for("witness-task-0")
    assert jobs.state(refs["task-2"]) == Running(started=False, reason="its pack runs, and its turn comes")
    assert isinstance(jobs.end_by_cancel(refs["task-1"]), Gone)
    assert isinstance(jobs.end_by_cancel(refs["task-0"]), Gone)
    jobs.wait_for("witness-task-2")
    release(jobs)
    ends = jobs.ends(refs)
    assert [type(ends[name]) for name in many] == [Gone, Gone, Done]
    assert ran(jobs, list(many)) == {"task-0": "ran\n", "task-1": None, "task-2": "ran\n"}
    wait_until(lambda: not alive(slurm), "the pack has ended")


@pytest.mark.long
def test_a_pack_that_nobody_needs_any_more_leaves_the_queue(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 3, pack=3)
    with closed(slurm):
        refs = submitted(jobs, many)
        for ref in refs.values():
            assert len(alive(slurm)) == 1
            assert isinstance(jobs.end_by_cancel(ref), Gone)
        wait_until(lambda: not alive(slurm), "the pack has left the queue")
    assert set(ran(jobs, list(many)).values()) == {None}


@pytest.mark.long
def test_a_member_whose_wrapper_is_killed_is_lost_and_the_others_go_on(jobs: Jobs) -> None:
    many = members(jobs, 3, pack=3)
    many["task-1"] = replace(many["task-1"], script=WAITS)
    refs = submitted(jobs, many)
    jobs.wait_for("witness-task-1")
    _, _, pid, *_ = Path(many["task-1"].folder, "fence").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    ends = jobs.ends(refs)
    release(jobs)
    lost = ends["task-1"]
    assert isinstance(lost, Failed)
    assert (lost.failure_class, lost.reason.partition(":")[0]) == (FailureClass.INFRA, "lost")
    assert isinstance(ends["task-0"], Done)
    assert isinstance(ends["task-2"], Done)
    token = many["task-1"].token
    wait_until(lambda: not with_token(token), "nothing of it watches for a cancel any more", timeout_s=15)


def with_token(token: str) -> list[str]:
    """The processes that have it in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"WLMCTL_TOKEN={token}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(entry.name)
    return found


@pytest.mark.long
def test_the_walltime_of_a_member_ends_that_one_only(jobs: Jobs) -> None:
    limit = Resources(walltime_s=1)
    many = {key: replace(job, resources=limit) for key, job in members(jobs, 2, pack=2).items()}
    many["task-0"] = replace(many["task-0"], script=WAITS)
    refs = submitted(jobs, many)
    ends = jobs.ends(refs)
    assert isinstance(ends["task-0"], Failed)
    assert ends["task-0"].failure_class is FailureClass.TIME
    assert isinstance(ends["task-1"], Done)


@pytest.mark.long
def test_where_the_time_of_a_pack_runs_out_it_is_told_of_the_running_member_and_the_others_are_tried_again(
    jobs: Jobs,
) -> None:
    jobs.end_timeout_s = 240
    many = {key: replace(job, options={"extra": ["--time=1"]}) for key, job in members(jobs, 2, WAITS, pack=2).items()}
    ends = jobs.ends(submitted(jobs, many))
    release(jobs)
    assert [end.failure_class for name in many if isinstance(end := ends[name], Failed)] == [
        FailureClass.TIME,
        FailureClass.INFRA,
    ]
    assert "before its turn" in ends["task-1"].reason  # type: ignore[union-attr]
    assert [*ran(jobs, list(many)).values()] == ["ran\n", None]


@pytest.mark.long
def test_a_pack_that_somebody_cancels_tells_it_of_each_member(jobs: Jobs, slurm: Slurm) -> None:
    many = members(jobs, 3, WAITS, pack=3)
    many["task-0"] = replace(many["task-0"], script=ONCE)
    refs = submitted(jobs, many)
    jobs.wait_for("witness-task-1")
    slurm.run("scancel", refs["task-0"]["id"])
    ends = jobs.ends(refs)
    assert isinstance(ends["task-0"], Done)
    classes = [end.failure_class for end in ends.values() if isinstance(end, Failed)]
    assert classes == [FailureClass.CANCELLED, FailureClass.CANCELLED], ends
    assert ran(jobs, ["task-2"]) == {"task-2": None}
    assert not [state for state in map(jobs.state, refs.values()) if isinstance(state, Running | Unknown)]


@pytest.mark.long
def test_what_the_login_has_in_the_queue_is_found_by_the_folders_of_its_members(jobs: Jobs, slurm: Slurm) -> None:
    elements, packed, single = members(jobs, 4), members(jobs, 2, pack=2), {"one": jobs.job(ONCE)}
    with closed(slurm):
        refs = {**submitted(jobs, elements), **submitted(jobs, packed), **submitted(jobs, single)}
        assert isinstance(jobs.batch, FindsJobs)
        found = jobs.batch.found(jobs.run(jobs.batch.find()))
        assert {ref["folder"] for ref in refs.values()} <= found.keys()
        for ref in refs.values():
            answer = jobs.end_by_cancel({**found[ref["folder"]], "token": ref["token"]})
            assert isinstance(answer, Gone)
        wait_until(lambda: not alive(slurm), "an empty queue")
