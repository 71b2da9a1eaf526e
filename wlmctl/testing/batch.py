"""The contract of a batch system as tests: subclass ``BatchContract``, give one fixture, and pytest does the rest.

    class TestMine(BatchContract):
        @pytest.fixture
        def jobs(self, tmp_path) -> Iterator[Jobs]:
            with my_transport(machine, {}) as transport:
                yield Jobs(my_factory(machine, {}), transport, str(tmp_path))

The machine's ``kill_grace`` should be short, since tests wait for it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from wlmctl.batch import TAIL_BYTES, SubmitsMany
from wlmctl.errors import Broken, TaskFailed
from wlmctl.task import Done, Failed, FailureClass, Gone, Running, Unknown
from wlmctl.testing.jobs import Jobs
from wlmctl.transport import Completed, FileInfo

__all__ = ["BatchContract", "Jobs"]


class BatchContract:
    """What every batch system must do; a subclass gives the fixture ``jobs``."""

    @pytest.fixture
    def jobs(self) -> Jobs:
        raise NotImplementedError("give a fixture `jobs` that returns a wlmctl.testing.batch.Jobs")

    def test_a_job_that_exits_with_0_is_done_and_brings_its_output(self, jobs: Jobs) -> None:
        answer = jobs.end(jobs.start("echo to stdout; echo to stderr >&2"))
        assert isinstance(answer, Done)
        assert (answer.exit_code, answer.stdout, answer.stderr) == (0, b"to stdout\n", b"to stderr\n")

    @pytest.mark.parametrize("code", [1, 3, 127, 255])
    def test_another_exit_code_fails_the_job_and_is_reported(self, jobs: Jobs, code: int) -> None:
        answer = jobs.end(jobs.start(f"echo because >&2; exit {code}"))
        assert isinstance(answer, Failed)
        assert (answer.exit_code, answer.failure_class, answer.stderr) == (code, FailureClass.USER, b"because\n")

    def test_the_script_stops_at_its_first_failing_command(self, jobs: Jobs) -> None:
        answer = jobs.end(jobs.start("false\necho not reached"))
        assert isinstance(answer, Failed)
        assert answer.stdout == b""

    def test_a_job_killed_by_a_signal_fails_with_128_and_the_signal(self, jobs: Jobs) -> None:
        answer = jobs.end(jobs.start("kill -9 $$"))
        assert isinstance(answer, Failed)
        assert answer.exit_code == 137

    def test_the_working_folder_is_made_and_is_where_the_script_runs(self, jobs: Jobs) -> None:
        directory = f"{jobs.scratch}/work/a b'c\"d$e;f/-g\nh"
        assert isinstance(jobs.end(jobs.start("pwd > here", directory=directory)), Done)
        assert b"".join(jobs.transport.read(f"{directory}/here")).decode() == f"{directory}\n"

    def test_the_environment_holds_the_jobs_own_values_unchanged(self, jobs: Jobs) -> None:
        env = {"PLAIN": "1", "ODD": "a'b\"c $HOME `date`\nsecond line\\", "EMPTY": ""}
        job = jobs.job('printf %s "$ODD" > odd; echo "$PLAIN,${EMPTY-unset},$WLMCTL_TASK,$WLMCTL_ATTEMPT"', env=env)
        answer = jobs.end(jobs.submit(job))
        assert isinstance(answer, Done)
        assert answer.stdout.decode() == f"1,,{job.task},1\n"
        assert jobs.text("odd") == env["ODD"]

    def test_the_devices_are_the_only_ones_the_job_sees(self, jobs: Jobs) -> None:
        script = 'echo "${CUDA_VISIBLE_DEVICES-unset}"'
        given = jobs.end(jobs.start(script, devices=(1, 3)))
        none = jobs.end(jobs.start(script, devices=()))
        assert isinstance(given, Done)
        assert isinstance(none, Done)
        assert (given.stdout, none.stdout) == (b"1,3\n", b"\n")

    def test_stdin_is_empty(self, jobs: Jobs) -> None:
        assert isinstance(jobs.end(jobs.start("cat; if read -r line; then exit 1; fi")), Done)

    def test_a_script_larger_than_an_argument_may_be_runs_whole(self, jobs: Jobs) -> None:
        script = "".join(f"# line {number} {'x' * 100}\n" for number in range(2000)) + "echo whole"
        answer = jobs.end(jobs.start(script))
        assert isinstance(answer, Done)
        assert answer.stdout == b"whole\n"

    def test_of_a_long_log_the_end_is_brought_byte_by_byte(self, jobs: Jobs) -> None:
        answer = jobs.end(
            jobs.start("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf '\\377\\0'")
        )
        assert isinstance(answer, Done)
        assert len(answer.stdout) == TAIL_BYTES
        assert answer.stdout.endswith(b"line 19999\n\xff\0")

    def test_submitting_again_starts_nothing_again(self, jobs: Jobs) -> None:
        job = jobs.job("echo ran >> ran; while ! [ -e go ]; do sleep 0.05; done")
        first = jobs.submit(job)
        jobs.wait_for("ran")
        again = jobs.submit(job)
        assert isinstance(jobs.state(again), Running)
        self.release(jobs)
        assert isinstance(jobs.end(first), Done)
        assert isinstance(jobs.end(jobs.submit(job)), Done)
        assert jobs.text("ran") == "ran\n"

    def test_many_jobs_are_started_by_one_command_and_again_in_other_company_start_nothing(self, jobs: Jobs) -> None:
        batch = jobs.batch
        if not isinstance(batch, SubmitsMany):
            pytest.skip("this batch system starts each job by a command of its own")
        many = {
            f"{n}": jobs.job(f"echo {n} >> ran-{n}; exit {n % 2}", name=f"many[{n}]", group="many") for n in range(6)
        }
        first = dict(list(many.items())[:4])
        told = dict(batch.submitted_many(first, jobs.run(batch.submit_many(first))))
        told |= batch.submitted_many(many, jobs.run(batch.submit_many(many)))
        refs = {key: ref for key, ref in told.items() if not isinstance(ref, Exception)}
        assert list(refs) == list(many)
        ends = jobs.ends(refs)
        assert [type(ends[key]) for key in many] == [Done, Failed] * 3
        assert [jobs.text(f"ran-{n}") for n in range(6)] == [f"{n}\n" for n in range(6)]

    def test_an_answer_about_many_jobs_that_is_not_whole_is_broken_for_each(self, jobs: Jobs) -> None:
        batch = jobs.batch
        if not isinstance(batch, SubmitsMany):
            pytest.skip("this batch system starts each job by a command of its own")
        many = {f"{n}": jobs.job("true", name=f"many[{n}]", group="many") for n in range(5)}
        whole = jobs.run(batch.submit_many(many))
        cut = replace(whole, stdout=whole.stdout[: len(whole.stdout) // 3])
        for completed, expected in ((cut, 1), (Completed(255, b"", b"Connection reset"), len(many))):
            told = batch.submitted_many(many, completed)
            broken = [key for key in many if isinstance(told.get(key, Broken("it does not tell")), Broken)]
            assert len(broken) >= expected
        refs = {key: ref for key, ref in batch.submitted_many(many, whole).items() if not isinstance(ref, Exception)}
        assert set(map(type, jobs.ends(refs).values())) == {Done}

    def test_a_running_job_is_running(self, jobs: Jobs) -> None:
        ref = jobs.start("echo ran > ran; while ! [ -e go ]; do sleep 0.05; done")
        jobs.wait_for("ran")
        assert isinstance(jobs.state(ref), Running)
        self.release(jobs)
        assert isinstance(jobs.end(ref), Done)

    def test_new_output_of_a_running_job_comes_from_the_offset_on(self, jobs: Jobs) -> None:
        ref = jobs.start("echo 123456; echo err >&2; echo ran > ran; while ! [ -e go ]; do sleep 0.05; done")
        jobs.wait_for("ran")
        answer = jobs.poll({"it": ref}, 0.0, {"it": (3, 4)})["it"]
        assert isinstance(answer, Running)
        assert (answer.stdout, answer.stderr) == (b"456\n", b"")
        self.release(jobs)
        assert isinstance(jobs.end(ref), Done)

    def test_one_poll_tells_ended_and_running_jobs_apart(self, jobs: Jobs) -> None:
        wait = "while ! [ -e go ]; do sleep 0.05; done; echo waited"
        refs = {"waits": jobs.start(wait), "good": jobs.start("echo good"), "bad": jobs.start("exit 7")}
        ended = jobs.ends({key: refs[key] for key in ("good", "bad")})
        answers = jobs.poll(refs)
        assert isinstance(answers["waits"], Running)
        assert isinstance(answers["good"], Done)
        assert isinstance(ended["bad"], Failed)
        self.release(jobs)
        assert isinstance(jobs.end(refs["waits"]), Done)

    def test_a_cancelled_job_is_gone_and_so_are_its_children(self, jobs: Jobs) -> None:
        ref = jobs.start("(while :; do echo beat > beat; sleep 0.05; done) & echo ran > ran; wait")
        jobs.wait_for("ran")
        jobs.wait_for("beat")
        assert isinstance(jobs.end_by_cancel(ref), Gone)
        jobs.transport.remove(f"{jobs.scratch}/work/beat")
        assert isinstance(jobs.end(jobs.start("sleep 0.3")), Done)
        assert jobs.text("beat") is None
        assert isinstance(jobs.end(ref), Gone)

    def test_a_job_that_will_not_end_is_killed_after_the_grace_period(self, jobs: Jobs) -> None:
        ref = jobs.start("trap '' TERM; echo ran > ran; while :; do sleep 0.05; done")
        jobs.wait_for("ran")
        assert isinstance(jobs.end_by_cancel(ref), Gone)

    def test_exit_0_after_a_cancel_is_no_success(self, jobs: Jobs) -> None:
        ref = jobs.start("trap 'exit 0' TERM; echo ran > ran; while :; do sleep 0.05; done")
        jobs.wait_for("ran")
        assert isinstance(jobs.end_by_cancel(ref), Gone)
        assert isinstance(jobs.end(ref), Gone)

    def test_what_ended_before_the_cancel_keeps_its_end(self, jobs: Jobs) -> None:
        good, bad = jobs.start("exit 0"), jobs.start("exit 4")
        jobs.ends({"good": good, "bad": bad})
        answer = jobs.end_by_cancel(bad)
        assert isinstance(jobs.end_by_cancel(good), Done)
        assert isinstance(answer, Failed)
        assert answer.exit_code == 4

    def test_a_job_cancelled_before_its_submit_never_starts(self, jobs: Jobs) -> None:
        job = jobs.job("echo ran > ran")
        assert isinstance(jobs.end_by_cancel(jobs.batch.reference(job)), Gone)
        late = jobs.submit(job)
        assert isinstance(jobs.end(late), Gone)
        assert jobs.text("ran") is None

    def test_the_walltime_ends_a_job_with_the_class_time(self, jobs: Jobs) -> None:
        answer = jobs.end(jobs.start("echo begun; echo ran > ran; while :; do sleep 0.05; done", walltime_s=1))
        assert isinstance(answer, Failed)
        assert answer.failure_class is FailureClass.TIME
        if jobs.text("ran"):  # on a busy host the time may be over before the first command has begun
            assert answer.stdout == b"begun\n"

    def test_a_job_within_its_walltime_is_not_disturbed(self, jobs: Jobs) -> None:
        assert isinstance(jobs.end(jobs.start("echo quick", walltime_s=3600)), Done)

    def test_an_answer_that_is_not_whole_says_nothing(self, jobs: Jobs) -> None:
        refs = {"it": jobs.start("exit 0")}
        jobs.ends(refs)
        whole = jobs.run(jobs.batch.poll(refs, 0.0, {}))
        cut = Completed(0, whole.stdout[: len(whole.stdout) // 2], b"")
        for broken in (cut, Completed(1, whole.stdout, b"oops"), Completed(0, b"", b"")):
            assert isinstance(jobs.batch.polled(refs, broken)["it"], Unknown)

    def test_a_submit_whose_answer_is_not_whole_is_broken_and_repeated_harmlessly(self, jobs: Jobs) -> None:
        job = jobs.job("echo ran >> ran")
        completed = jobs.run(jobs.batch.submit(job))
        with pytest.raises(Broken):
            jobs.batch.submitted(job, Completed(255, b"", b"connection lost"))
        jobs.batch.submitted(job, completed)
        assert isinstance(jobs.end(jobs.submit(job)), Done)
        assert jobs.text("ran") == "ran\n"

    def test_unknown_options_are_refused_by_name(self, jobs: Jobs) -> None:
        with pytest.raises(TaskFailed, match="no-such-option"):
            jobs.submit(jobs.job("true", options={"no-such-option": 1}))

    def release(self, jobs: Jobs) -> None:
        """Let the jobs that wait for the file ``go`` come to their end."""
        jobs.transport.write(f"{jobs.scratch}/work/go", (), FileInfo("go", "file"))
