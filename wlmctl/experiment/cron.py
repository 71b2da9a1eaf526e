"""The due times of a cron pattern in a time zone, through both clock changes of the year.

The library reads the pattern and counts on the wall clock; what a wall clock time means on a day on which the clocks
change is decided here, the same for every pattern (docs/decisions/0010).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from wlmctl.suggest import did_you_mean

#: Short words for patterns.
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

CRON_FORM = 'five fields "minute hour day month weekday", or @hourly, @daily, @weekly, @monthly, @yearly'
_SOMETIMES = "a day that comes at least once in 50 years"
ZONE_FORM = "a time zone such as UTC or Europe/Berlin"

_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 or L",
    "month": "1-12 or jan-dec",
    "day-of-week": "0-7 or sun-sat",
}
_PATTERN = re.compile(r"[0-9A-Za-z*/,#-]{1,200}( [0-9A-Za-z*/,#-]{1,200}){4}")
_MINUTE = timedelta(minutes=1)
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


class Cron:
    """A pattern in a time zone; ``ValueError`` says what was expected of the one that is wrong."""

    def __init__(self, pattern: str, timezone: str) -> None:
        self._pattern = checked_pattern(pattern)
        self._zone = zone(timezone)
        hours = CronSim(self._pattern, _SOME_DAY).hours
        #: Every hour that passes counts, also one that the clock shows twice.
        self._is_hourly = len(hours) == 24

    def after(self, time_s: float) -> float | None:
        """The first due time after ``time_s``, both in seconds since the epoch; None: never again."""
        try:
            return self._first_after(time_s)
        except OverflowError:  # behind the year 9999
            return None

    def _first_after(self, time_s: float) -> float | None:
        local = datetime.fromtimestamp(time_s, UTC).astimezone(self._zone)
        # A time that the clock is going to show again may come from before it on the wall clock.
        wall = local.replace(tzinfo=None) - max(-_shift(local), timedelta()) * (1 - local.fold)
        first: float | None = None
        for match in CronSim(self._pattern, wall):
            times = self._times(match)
            first = min([each for each in times if each > time_s] + ([] if first is None else [first]), default=None)
            if times and times[0] > time_s:
                return first
        return None

    def _times(self, wall: datetime) -> list[float]:
        """When it is due for this time of the wall clock: once or, where the clock shows it twice, in order."""
        local = wall.replace(tzinfo=self._zone, fold=0)
        shift = _shift(local)
        if not shift:
            return [local.timestamp()]
        if shift < timedelta():
            return [local.replace(fold=fold).timestamp() for fold in ((0, 1) if self._is_hourly else (0,))]
        if self._is_hourly:
            return []  # the hour is left out: so is this time
        while _shift(local) > timedelta():
            local += _MINUTE
        return [local.timestamp()]


def _shift(local: datetime) -> timedelta:
    """By how much the clock is put at this wall clock time: forward over it, or (below zero) back before it."""
    before, behind = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    assert before is not None
    assert behind is not None
    return behind - before


def checked_pattern(text: str) -> str:
    """The five fields of a pattern; ``ValueError`` says what is expected."""
    fields = " ".join(WORDS.get(text.strip().lower(), text).split())
    if not _PATTERN.fullmatch(fields):
        raise ValueError(CRON_FORM)
    try:
        due = next(CronSim(fields, _SOME_DAY), None)
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        number, words = list(_FIELDS).index(name), fields.split()
        if name == "day-of-month" and _is_known(" ".join((*words[:3], "*", words[4]))):  # 30 February
            raise ValueError(_SOMETIMES) from None
        raise ValueError(f"{_FIELDS[name]} for the {name} instead of '{words[number]}'") from None
    if due is None:
        raise ValueError(_SOMETIMES)
    return fields


def _is_known(fields: str) -> bool:
    try:
        CronSim(fields, _SOME_DAY)
    except CronSimError:
        return False
    return True


def zone(name: str) -> ZoneInfo:
    """The time zone of this name; ``ValueError`` says what is expected."""
    try:
        if name != "localtime":  # another one on each host
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError(f"{ZONE_FORM}{_near(name, available_timezones())}")


def _near(name: str, known: Iterable[str]) -> str:
    by_lower = {each.lower(): each for each in known}
    same = by_lower.get(name.lower())
    hint = f"did you mean {same!r}?" if same else did_you_mean(name[:60], by_lower.values())
    return f" ({hint})" if hint else ""
