"""What a queue gets as one of jobs that are submitted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from wlmctl.batch import BatchJob
from wlmctl.jobs.queue.bunch import chunks, group_name
from wlmctl.task import Resources


def job(number: int, group: str = "task", pack: int = 0) -> BatchJob:
    name = f"{group}[{number}]"
    return BatchJob(
        f"{number:032x}", "exp-abcdef", name, 1, f"/private/{name}/1", "/work", "true", group=group, pack=pack
    )


def kinds(jobs: Sequence[BatchJob], arrays: bool = True) -> list[tuple[str, list[int]]]:
    return chunks(dict(enumerate(jobs)), arrays)


@pytest.mark.parametrize(
    ("count", "pack", "expected"),
    [
        (3, 0, [("single", 1)] * 3),
        (4, 0, [("array", 4)]),
        (1001, 0, [("array", 1000), ("single", 1)]),
        (7, 3, [("pack", 3), ("pack", 3), ("single", 1)]),
        (2, 50, [("pack", 2)]),
        (1, 50, [("single", 1)]),
    ],
)
def test_alike_jobs_are_put_together(count: int, pack: int, expected: list[tuple[str, int]]) -> None:
    found = kinds([job(number, pack=pack) for number in range(count)])
    assert [(kind, len(numbers)) for kind, numbers in found] == expected


def test_a_queue_without_arrays_gets_single_jobs_and_packs() -> None:
    assert {kind for kind, _ in kinds([job(number) for number in range(9)], arrays=False)} == {"single"}
    assert [kind for kind, _ in kinds([job(number, pack=9) for number in range(9)], arrays=False)] == ["pack"]


def test_jobs_that_ask_for_other_things_are_not_alike() -> None:
    jobs = [job(number, pack=4) for number in range(4)]
    jobs[1] = replace(jobs[1], resources=Resources(cpus=2))
    jobs[2] = replace(jobs[2], options={"partition": "gpu"})
    assert kinds(jobs) == [("pack", [0, 3]), ("single", [1]), ("single", [2])]
    assert kinds([job(1, pack=2), job(1, "other", pack=2), job(2, pack=2)]) == [("pack", [0, 2]), ("single", [1])]


def test_jobs_of_no_group_stay_alone() -> None:
    assert {kind for kind, _ in kinds([job(number, group="") for number in range(9)])} == {"single"}


def test_the_name_of_a_group_tells_its_members_their_order_and_its_kind() -> None:
    first, second = job(1), job(2)
    names = {
        group_name("pack", [first, second]),
        group_name("pack", [second, first]),
        group_name("array", [first, second]),
    }
    assert len(names) == 3
    assert {len(name) for name in names} == {15}
    assert group_name("pack", [first, second]) == group_name("pack", [first, second])
