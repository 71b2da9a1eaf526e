"""Due times: patterns, words, and both clock changes of the year, against every minute of the real days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wlmctl.experiment.cron import Cron, checked_pattern, zone


def dues(pattern: str, timezone: str, since: str, count: int) -> list[str]:
    """The next due times, on the wall clock of the zone with its offset."""
    cron, time_s = Cron(pattern, timezone), datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(timezone)).timestamp()
    found = []
    for _ in range(count):
        due = cron.after(time_s)
        assert due is not None
        assert due > time_s
        time_s = due
        found.append(datetime.fromtimestamp(due, ZoneInfo(timezone)).strftime("%m-%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    ("pattern", "since", "expected"),
    [
        ("0 2 * * *", "2026-01-10T02:00", "01-11 02:00+0000"),
        ("*/15 * * * *", "2026-01-10T02:14:59", "01-10 02:15+0000"),
        ("0 9 * * mon-fri", "2026-01-10T02:00", "01-12 09:00+0000"),
        ("0 9 1,15 jan-mar/2 *", "2026-01-15T10:00", "03-01 09:00+0000"),
        ("0 9 13 * fri", "2026-01-10T02:00", "01-13 09:00+0000"),
        ("0 9 l * *", "2026-01-10T02:00", "01-31 09:00+0000"),
        ("0 0 * * 7", "2026-01-10T02:00", "01-11 00:00+0000"),
        ("@hourly", "2026-01-10T02:00", "01-10 03:00+0000"),
        ("@daily", "2026-01-10T02:00", "01-11 00:00+0000"),
        ("@weekly", "2026-01-10T02:00", "01-11 00:00+0000"),
        (" @Monthly ", "2026-01-10T02:00", "02-01 00:00+0000"),
        ("@yearly", "2026-01-10T02:00", "01-01 00:00+0000"),
    ],
)
def test_the_next_due_time_is_the_first_that_the_pattern_names(pattern: str, since: str, expected: str) -> None:
    assert dues(pattern, "UTC", since, 1) == [expected]


@pytest.mark.parametrize(
    ("pattern", "timezone", "since", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:30+0200"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00", ["03-08 03:00-0400", "03-09 02:30-0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["10-04 02:30+1100", "10-05 02:15+1100"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00", ["04-24 01:00+0300", "04-25 00:00+0300"]),
        ("0 */12 * * *", "Africa/Cairo", "2026-04-23T12:00", ["04-24 01:00+0300", "04-24 12:00+0300"]),
    ],
)
def test_a_time_that_a_day_leaves_out_comes_once_at_the_next_minute_there_is(
    pattern: str, timezone: str, since: str, expected: list[str]
) -> None:
    assert dues(pattern, timezone, since, 2) == expected


@pytest.mark.parametrize(
    ("pattern", "timezone", "since", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 02:30+0200", "10-26 02:30+0100"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-10-25T02:10", ["10-25 02:30+0200", "10-26 02:00+0100"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-25T01:00", ["10-25 02:00+0200", "10-25 04:00+0100"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["11-01 01:30-0400", "11-02 01:30-0500"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", ["04-05 01:45+1100", "04-06 01:45+1030"]),
        ("0 */2 * * *", "Australia/Lord_Howe", "2026-04-05T00:00", ["04-05 02:00+1030", "04-05 04:00+1030"]),
    ],
)
def test_a_time_that_a_day_shows_twice_comes_once_where_hours_are_named(
    pattern: str, timezone: str, since: str, expected: list[str]
) -> None:
    assert dues(pattern, timezone, since, 2) == expected


@pytest.mark.parametrize(
    ("pattern", "timezone", "since", "expected"),
    [
        ("30 * * * *", "Europe/Berlin", "2026-03-29T01:00", ["03-29 01:30+0100", "03-29 03:30+0200"]),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T01:30", ["10-25 02:00+0200", "10-25 02:00+0100"]),
        ("0 * * * *", "America/New_York", "2026-11-01T00:30", ["11-01 01:00-0400", "11-01 01:00-0500"]),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-10-04T01:40", ["10-04 01:45+1030", "10-04 02:30+1100"]),
        ("*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:40", ["04-05 01:45+1100", "04-05 01:30+1030"]),
    ],
)
def test_an_hourly_pattern_follows_the_hours_that_really_pass(
    pattern: str, timezone: str, since: str, expected: list[str]
) -> None:
    assert dues(pattern, timezone, since, 2) == expected


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Antarctica/Troll", "UTC")


def minutes(timezone: str, year: int) -> Iterator[tuple[float, datetime]]:
    """Each minute of the days around the year's clock changes, as it is and as the wall clock shows it."""
    first = datetime(year, 1, 1, tzinfo=UTC)
    hours = [first + timedelta(hours=each) for each in range(8760)]
    offsets = [each.astimezone(ZoneInfo(timezone)).utcoffset() for each in hours]
    changes = [hours[n] for n, (before, now) in enumerate(pairwise(offsets)) if before != now] or [first]
    for change in changes:
        for minute in range(-1500, 1560):
            each = change + timedelta(minutes=minute)
            yield each.timestamp(), each.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from(ZONES),
    st.integers(2024, 2036),
    st.sets(st.sampled_from(range(0, 60, 5)), min_size=1, max_size=3),
    st.sets(st.integers(0, 4), min_size=1, max_size=3),
)
def test_named_times_come_once_a_day_whatever_the_clocks_do(
    timezone: str, year: int, at_minutes: set[int], at_hours: set[int]
) -> None:
    cron = Cron(f"{','.join(map(str, at_minutes))} {','.join(map(str, at_hours))} * * *", timezone)
    real = list(minutes(timezone, year))
    for start in (0, 3060):
        window = real[start : start + 3060]
        if not window:
            continue
        found, time_s = [], window[0][0] - 60
        while (due := cron.after(time_s)) is not None and due <= window[-1][0]:
            found.append(due)
            time_s = due
        walls = [wall for _, wall in window]
        expected = set()
        named = {(hour, minute) for hour in at_hours for minute in at_minutes}
        for day in sorted({wall.date() for wall in walls}):
            for hour, minute in named:
                wall = datetime.combine(day, time(hour, minute))
                # the first minute of the day that shows this time, or the first that shows a later one
                later = [each for each, shown in window if shown >= wall]
                if later and wall >= walls[0]:
                    expected.add(later[0])
        assert [due for due in found if due >= window[0][0]] == sorted(expected)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.sampled_from(ZONES), st.integers(2024, 2036), st.sampled_from(("0", "*/15", "7,52", "*")))
def test_hourly_patterns_come_at_each_real_minute_that_shows_theirs(timezone: str, year: int, pattern: str) -> None:
    cron = Cron(f"{pattern} * * * *", timezone)
    named = {"0": {0}, "*/15": {0, 15, 30, 45}, "7,52": {7, 52}, "*": set(range(60))}[pattern]
    window = list(minutes(timezone, year))[1300:1800]
    found, time_s = [], window[0][0] - 1
    while (due := cron.after(time_s)) is not None and due <= window[-1][0]:
        found.append(due)
        time_s = due
    assert found == [each for each, shown in window if shown.minute in named]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("@reboot", "five fields"),
        ("0 2 * * ?", "five fields"),
        ("61 2 * * *", "0-59 for the minute instead of '61'"),
        ("0 24 * * *", "0-23 for the hour instead of '24'"),
        ("0 2 0 * *", "1-31 or L for the day-of-month instead of '0'"),
        ("0 2 30 feb *", "a day that comes at least once in 50 years"),
        ("0 2 31 4,6 *", "a day that comes at least once in 50 years"),
        ("0 2 * foo *", "1-12 or jan-dec for the month instead of 'foo'"),
        ("0 2 * * 8", "0-7 or sun-sat for the day-of-week instead of '8'"),
        ("*/0 2 * * *", "0-59 for the minute instead of '*/0'"),
        ("5-1 2 * * *", "0-59 for the minute instead of '5-1'"),
        ("9" * 150 + " 2 * * *", "0-59 for the minute"),
    ],
)
def test_a_wrong_pattern_says_which_field_and_what_is_expected(pattern: str, expected: str) -> None:
    with pytest.raises(ValueError, match="^" + expected.replace("*", "\\*")):
        checked_pattern(pattern)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.text("0159*/,#-LWmonJAN", min_size=1, max_size=6), min_size=5, max_size=5))
def test_any_pattern_is_refused_in_one_way_or_has_due_times(fields: list[str]) -> None:
    try:
        cron = Cron(" ".join(fields), "Europe/Berlin")
    except ValueError:
        return
    assert (cron.after(1_700_000_000.0) or 2e9) > 1_700_000_000.0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("Europe/Berlln", "did you mean 'Europe/Berlin'?"),
        ("+02:00", ""),
        ("", ""),
        ("Europe", ""),
        ("/etc/localtime", ""),
        ("../zoneinfo/UTC", ""),
        ("localtime", ""),
        ("a\0b", ""),
    ],
)
def test_a_wrong_time_zone_is_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"^a time zone such as UTC or Europe/Berlin") as raised:
        zone(name)
    assert hint in str(raised.value)


def test_nothing_comes_behind_the_last_year_that_can_be_counted() -> None:
    assert Cron("0 0 1 1 *", "UTC").after(datetime(9999, 6, 1, tzinfo=UTC).timestamp()) is None
