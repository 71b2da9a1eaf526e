"""A series worked on by real processes that are killed over its due times: one experiment each, to the second."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.waiting import wait_until
from wlmctl.store import open_database

FILE = """\
name: ticks
schedule: {cron: "* * * * *"}
tasks:
  tick: {type: job, command: "date +%s >> ticks"}
"""

#: Seconds within which a due time is kept; three times as many are allowed here.
PROMISED_S = 1.0

#: Due once a year: what the test does not bring forward stays away.
RARE = FILE.replace("* * * * *", "0 0 1 1 *")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    commands = CommandLine(tmp_path)
    yield commands
    commands.close()


@pytest.fixture
def line_of_store(tmp_path: Path, store_url: str) -> Iterator[CommandLine]:
    """As ``line``, once with each kind of store."""
    commands = CommandLine(tmp_path, store_url=store_url)
    yield commands
    commands.close()


def start(line: CommandLine) -> subprocess.Popen[str]:
    """An orchestrator that leads."""
    process = line.start("orchestrator")
    wait_until(lambda: "orchestrator with" in line.said(process), "the orchestrator has started", 60)
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def due_in(line: CommandLine, series: str, seconds: float) -> float:
    """Put the next due time so that nobody has to wait for the minute; it in seconds since the epoch."""
    due = round(time.time() + seconds, 3)
    with open_database(line.environ["WLMCTL_STORE"]) as db, db.transaction():
        db.execute("UPDATE series SET next_due = ? WHERE id = ?", (due, series))
    return due


def of_series(line: CommandLine, series: str) -> list[dict[str, Any]]:
    """Its experiments, the first one first."""
    return list(reversed(line.json("status", series)["experiments"]))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def ended(line: CommandLine, series: str, count: int) -> list[dict[str, Any]]:
    """Wait until so many of its experiments have succeeded."""

    def found() -> list[dict[str, Any]]:
        all_of_it = of_series(line, series)
        return all_of_it if [each["state"] for each in all_of_it] == ["succeeded"] * count else []

    return wait_until(found, f"{count} experiments of {series} have succeeded", 60)


def test_a_due_time_is_kept_within_a_second_and_once_through_kills(line_of_store: CommandLine) -> None:
    line = line_of_store
    orchestrator = start(line)
    series = line.run("submit", line.write("ticks.yaml", RARE)).stdout.strip()
    due = due_in(line, series, 1.5)
    (first,) = ended(line, series, 1)
    assert first["id"] == f"{series}.1"
    assert 0 <= seconds(first["created"]) - due < 3 * PROMISED_S
    assert 0 <= seconds(first["started"]) - due < 3 * PROMISED_S

    due_in(line, series, 1.5)
    kill(orchestrator)  # nobody leads when it comes
    time.sleep(2)  # it has to pass
    orchestrator = start(line)
    assert [each["id"] for each in ended(line, series, 2)] == [f"{series}.1", f"{series}.2"]

    due_in(line, series, 0.5)
    wait_until(lambda: len(of_series(line, series)) == 3, "the third has been made")
    kill(orchestrator)  # as soon as it can be seen
    start(line)
    ended(line, series, 3)
    assert len((line.folder / "ticks").read_text().split()) == 3


def test_what_came_while_nobody_led_is_missed_or_with_catchup_made_up_for(line: CommandLine) -> None:
    missing = line.run("submit", line.write("missing.yaml", FILE)).stdout.strip()
    catching = line.run("submit", line.write("catching.yaml", FILE.replace('*"}', '*", catchup: true}'))).stdout.strip()
    for series in (missing, catching):
        due_in(line, series, -170)
    began = time.time()
    start(line)
    wait_until(lambda: len(of_series(line, catching)) >= 3, "the missed ones are made up for", 60)
    assert all(seconds(each["start_due"]) > began - 31 for each in of_series(line, missing))

    def note() -> str:
        (row,) = line.json("status", missing)["series"]
        return row["note"] or ""

    wait_until(lambda: note().startswith("missed "), "the other one says what it has missed")


def test_cancel_of_a_series_ends_what_runs_of_it(line: CommandLine) -> None:
    start(line)
    text = RARE.replace("date +%s >> ticks", "sleep 300")
    series = line.run("submit", line.write("ticks.yaml", text)).stdout.strip()
    due_in(line, series, 0.2)
    wait_until(lambda: [each["state"] for each in of_series(line, series)] == ["running"], "it runs")
    assert line.run("wait", series, code=2).stderr.count("\n") == 1
    line.run("cancel", series)
    line.run("wait", series, "--timeout", "30s", code=5)
    assert line.json("status", series)["series"][0]["state"] == "cancelled"


@pytest.mark.long
def test_the_minutes_of_a_real_clock_are_kept(line: CommandLine) -> None:
    start(line)
    series = line.run("submit", line.write("ticks.yaml", FILE)).stdout.strip()
    wait_until(lambda: len(of_series(line, series)) == 2, "two minutes have begun", 125)
    for each in of_series(line, series):
        assert seconds(each["start_due"]) % 60 == 0
        assert 0 <= seconds(each["started"]) - seconds(each["start_due"]) < 3 * PROMISED_S
