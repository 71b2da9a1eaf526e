"""The numbered points at which tests kill are those that the documentation lists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.chaos.cluster.faults import all_faults
from tests.chaos.cluster.points import OF_MANY, points

PAGE = Path(__file__).parents[2] / "docs/reference/kill-points.md"


def test_the_page_of_kill_points_lists_each_point_of_the_code_in_its_words() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert listed == [(point.file, str(point.number), point.what) for point in points()]


def test_each_point_has_faults() -> None:
    struck = {".".join(fault.point.split(".")[:2]) for fault in all_faults()}
    assert {OF_MANY.get(point.name, point.name) for point in points()} == struck
