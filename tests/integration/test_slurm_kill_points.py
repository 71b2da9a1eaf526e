"""A kill between any two steps of a submit, of a job and of a cancel: the command runs once, and its end is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wlmctl.jobs.texts
from tests.services.commands_only import CommandsOnly
from tests.services.slurm import Slurm
from tests.waiting import wait_until
from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.plugins import batch_factory, transport_factory
from wlmctl.task import Done, Failed, FailureClass, Gone, Unknown
from wlmctl.testing.batch import Jobs

TEXTS = {
    "submit": Path(wlmctl.jobs.texts.__file__).parent / "queue/submit.sh",
    "cancel": Path(wlmctl.jobs.texts.__file__).parent / "queue/cancel.sh",
    "wrapper": Path(wlmctl.jobs.texts.__file__).parent / "wrapper.sh",
}
ONCE = "echo ran >> witness"


def points(name: str) -> list[int]:
    """The numbers of the kill points in a text."""
    found = sorted(int(number) for number in re.findall(r"^ *# point (\d+):", TEXTS[name].read_text(), re.MULTILINE))
    assert found == list(range(1, len(found) + 1))
    return found


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int | None], None]]:
    """Makes the shell that runs a text kill itself at a point, until it is asked for none."""
    read = wlmctl.jobs.texts._text

    def arm(name: str, point: int | None) -> None:
        def armed(folder: Path, found: str) -> str:
            if found != name or point is None:
                return read(folder, found)
            text = TEXTS[name].read_text()
            text = re.sub(rf"^( *)# point {point}:.*", r"\1kill -KILL $$", text, flags=re.MULTILINE)
            return re.sub(r"^\s*#.*\n|^\n", "", text, flags=re.MULTILINE)

        monkeypatch.setattr(wlmctl.jobs.texts, "_text", armed)
        wlmctl.jobs.texts.program.cache_clear()

    yield arm
    monkeypatch.undo()
    wlmctl.jobs.texts.program.cache_clear()


@pytest.fixture
def jobs(slurm: Slurm, tmp_path: Path) -> Jobs:
    machine = Machine("cluster", kill_grace_s=1.0, shell="sh")
    environment = "".join(f"{name}='{value}'; export {name}; " for name, value in slurm.env.items())
    transport = CommandsOnly(
        transport_factory("local")(Machine("local"), {}), f"{environment}exec sh -c ", as_one_word=True
    )
    return Jobs(batch_factory("slurm")(machine, {"lost_after": "1s"}), transport, str(tmp_path))


def nothing_left(slurm: Slurm, name: object) -> None:
    """Wait until no job of that name is in the queue any more: Slurm takes a moment after the exit file."""
    ended = ("COMPLETED", "CANCELLED")
    wait_until(
        lambda: not [state for _, state, found in slurm.queue() if found == name and state not in ended],
        "an empty queue",
    )


@pytest.mark.parametrize("point", range(1, 9))
def test_a_submit_killed_at_any_point_and_repeated_runs_the_command_once(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    job = jobs.job(ONCE)
    killed_at("submit", point)
    with pytest.raises(Broken):
        jobs.submit(job)
    killed_at("submit", None)
    ref = jobs.submit(job)
    assert isinstance(jobs.end(ref), Done)
    assert jobs.text("witness") == "ran\n"
    nothing_left(slurm, ref["name"])


@pytest.mark.parametrize("point", range(1, 9))
def test_a_submit_killed_at_any_point_and_cancelled_leaves_nothing(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    job = jobs.job(f"{ONCE}; sleep 60")
    killed_at("submit", point)
    with pytest.raises(Broken):
        jobs.submit(job)
    killed_at("submit", None)
    ref = jobs.batch.reference(job)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    nothing_left(slurm, ref["name"])


@pytest.mark.parametrize("point", points("wrapper"))
def test_a_job_killed_at_any_point_is_told_and_never_runs_twice(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    killed_at("wrapper", point)
    job = jobs.job(ONCE)
    ref = jobs.submit(job)
    answer = jobs.end(ref)
    jobs.submit(job)
    if point == 4:
        assert isinstance(answer, Done)
    else:
        assert isinstance(answer, Failed)
        assert answer.failure_class is FailureClass.INFRA
    assert jobs.text("witness") == (None if point < 3 else "ran\n")
    assert len([name for _, _, name in slurm.queue() if name == ref["name"]]) == 1


@pytest.mark.parametrize("point", points("cancel"))
def test_a_cancel_killed_at_any_point_and_repeated_ends_the_job(
    jobs: Jobs, slurm: Slurm, killed_at: Callable[[str, int | None], None], point: int
) -> None:
    ref = jobs.start(f"{ONCE}; sleep 60")
    jobs.wait_for("witness")
    killed_at("cancel", point)
    assert isinstance(jobs.cancel(ref), Unknown)
    killed_at("cancel", None)
    assert isinstance(jobs.end_by_cancel(ref), Gone)
    nothing_left(slurm, ref["name"])
