"""Sizes and durations, read and shown."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wlmctl.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [(0, 0), (17, 17), ("17", 17), ("512MiB", 512 << 20), ("2GB", 2 * 10**9), ("1.5 KiB", 1536), ("3k", 3000)],
)
def test_sizes_are_read(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", -1, 1.5, True, None, "1e3", "12 apples", "1" * 100, "٣"])
def test_what_is_no_size_is_refused_with_the_forms(text: object) -> None:
    with pytest.raises(ValueError, match="512MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86400),
        ("1-12:00:00", 129600),
        ("12:00:00", 43200),
        ("1h 30m", 5400),
        (90, 90),
        ("90", 90),
        (0.5, 0.5),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "10 minutes", "-5s", -5, True, math.nan, math.inf, 10**400, "1e9d", "1-99:00:00", "10:00"]
)
def test_what_is_no_duration_is_refused_with_the_forms(text: object) -> None:
    with pytest.raises(ValueError, match="90s, 10m, 2h"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.kMGiBb -", max_size=12))
def test_what_the_pattern_of_sizes_refuses_is_not_read(text: str) -> None:
    if not re.match(SIZE_PATTERN, text):
        with pytest.raises(ValueError, match="size"):
            parse_size(text)


@given(st.text(alphabet="0123456789.smhd: -", max_size=12))
def test_what_the_pattern_of_durations_refuses_is_not_read(text: str) -> None:
    if not re.match(DURATION_PATTERN, text):
        with pytest.raises(ValueError, match="duration"):
            parse_duration(text)


def test_sizes_and_durations_are_shown_for_people() -> None:
    assert [format_size(size) for size in (0, 512, 1536, 5 << 30)] == ["0 B", "512 B", "1.5 KiB", "5.0 GiB"]
    assert [format_duration(s) for s in (0.3, 42, 3900, 90000)] == ["0.3s", "42s", "1h 05m", "1d 01h"]
