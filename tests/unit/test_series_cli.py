"""Series on the command line: what is refused, what ids mean, and what each command says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wlmctl.clean_folder import clean_folders
from wlmctl.cli.main import cli
from wlmctl.runtime.submit import submit_all
from wlmctl.store import experiments, open_database, series

FILE = """\
name: nightly
labels: [paper]
schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}
tasks:
  work: {type: job, command: "true"}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightly.yaml").write_text(FILE)
    (tmp_path / "once.yaml").write_text(re.sub("(?m)^schedule.*\n", "", FILE))
    url = f"sqlite:///{tmp_path / 'wlmctl.db'}"
    monkeypatch.setenv("WLMCTL_STORE", url)
    return url


def call(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(args), input=stdin)


def submitted(*args: str) -> str:
    result = call("submit", "nightly.yaml", *args)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def add_experiment(url: str, identifier: str, *, state: str = "running") -> str:
    """One experiment of the series, as an orchestrator writes it."""
    from wlmctl.experiment import from_document
    from wlmctl.orchestrator.book import Book
    from wlmctl.orchestrator.series import SeriesWatch

    with open_database(url) as db:
        row = series.get(db, identifier)
        assert row is not None
        assert row.next_due is not None
        book, watch = Book(db, row.next_due), SeriesWatch()
        with db.transaction():
            watch.read(db)
            (seq,) = watch.release(book)
            db.execute("UPDATE experiments SET state = ?, start_due = NULL WHERE seq = ?", (state, seq))
            if state == "succeeded":
                db.execute("UPDATE experiments SET ended = ? WHERE seq = ?", (row.next_due + 1, seq))
        found = experiments.get(db, seq)
        assert found is not None
        assert from_document(experiments.document(db, seq)).schedule is None
        return found.id


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('{cron: "61 2 * * *"}', "schedule.cron: found '61 2 * * *', expected 0-59 for the minute instead of '61'"),
        ("{cron: 2}", "schedule.cron: found '2', expected five fields \"minute hour day month weekday\", or @hourly"),
        ("{timezone: UTC}", "schedule.cron: is missing, expected five fields"),
        ('{cron: "@daily", timezone: Europe/Berln}',
         "schedule.timezone: found 'Europe/Berln', expected a time zone such as UTC or Europe/Berlin "
         "(did you mean 'Europe/Berlin'?)"),
        ('{cron: "@daily", timezone: 1}', "schedule.timezone: found '1', expected a time zone such as UTC"),
        ('{cron: "@daily", catchup: yes}', "schedule.catchup: found 'yes', expected true or false"),
        ('{cron: "@daily", overlap: quue}',
         "schedule.overlap: found 'quue', expected one of skip, queue, allow (did you mean 'queue'?)"),
        ('{corn: "@daily", cron: "@daily"}',
         "schedule.corn: unknown key, expected one of cron, timezone, catchup, overlap (did you mean 'cron'?)"),
        ("daily", "schedule: found 'daily', expected a mapping such as {cron: \"0 2 * * *\""),
        ("", "schedule: found nothing, expected a mapping such as"),
    ],
)  # fmt: skip
def test_a_wrong_schedule_is_one_line_with_its_place(store: str, written: str, line: str) -> None:
    Path("x.yaml").write_text(re.sub("schedule: .*", f"schedule: {written}", FILE))
    result = call("validate", "x.yaml")
    assert result.exit_code == 2
    (told,) = result.stderr.splitlines()
    assert told.startswith(f"x.yaml:3: {line}")


def test_run_refuses_a_series_and_says_what_to_type(store: str) -> None:
    result = call("run", "nightly.yaml")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "wlmctl submit nightly.yaml" in result.stderr


def test_submit_prints_the_id_of_the_series_and_tells_when_it_is_due(store: str) -> None:
    result = call("submit", "nightly.yaml")
    assert re.fullmatch(r"nightly-[a-z2-7]{6}\n", result.stdout)
    assert f"{result.stdout.strip()} is a series: its next experiment is due at 2" in result.stderr
    assert call("status", "-q").stdout == ""


def test_submit_as_json_has_the_id_and_the_next_due_time(store: str) -> None:
    document = json.loads(call("submit", "nightly.yaml", "-o", "json").stdout)
    (only,) = document["series"]
    assert document["experiments"] == [{"id": only["id"]}]
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT0[01]:30:00\.000Z", only["next_due"])


def test_a_key_keeps_a_series_from_being_made_twice(store: str) -> None:
    first = submitted("--key", "k")
    assert submitted("--key", "k") == first
    other = call("submit", "once.yaml", "--key", "k")
    assert other.exit_code == 2
    assert f"it was used before, with other content, for {first}" in other.stderr
    Path("nightly.yaml").write_text(FILE.replace("30 2", "31 2"))
    assert call("submit", "nightly.yaml", "--key", "k").exit_code == 2


def test_status_shows_the_series_beside_the_experiments(store: str) -> None:
    identifier = submitted()
    once = call("submit", "once.yaml").stdout.strip()
    listed = call("status").stdout
    assert re.search(rf"(?m)^{once} +running", listed)
    assert re.search(rf"(?m)^{identifier} +active +0 +2\d{{3}}-.* 30 2 \* \* \* Europe/Berlin +paper$", listed)
    document = json.loads(call("status", "-o", "json").stdout)
    assert [(each["id"], each["series"]) for each in document["experiments"]] == [(once, None)]
    assert [each["id"] for each in document["series"]] == [identifier]


def test_status_of_a_series_lists_its_experiments(store: str) -> None:
    identifier = submitted()
    first = add_experiment(store, identifier)
    shown = call("status", identifier).stdout
    assert f"{identifier}\n  state:    active\n  schedule: 30 2 * * * in Europe/Berlin, overlap: skip\n" in shown
    assert "so far:   1 made" in shown
    assert re.search(rf"(?m)^{re.escape(first)} +running", shown)
    document = json.loads(call("status", identifier, "-o", "json").stdout)
    (only,) = document["series"]
    assert (only["cron"], only["timezone"], only["catchup"], only["experiments"]) == (
        "30 2 * * *", "Europe/Berlin", False, [first],
    )  # fmt: skip
    assert [(each["id"], each["series"]) for each in document["experiments"]] == [(first, identifier)]
    assert call("status", "-q", identifier).stdout == f"{first}\n"


def test_a_beginning_means_the_series_and_with_a_dot_its_experiment(store: str) -> None:
    identifier = submitted()
    first = add_experiment(store, identifier)
    assert call("status", "nightly").stdout.startswith(f"{identifier}\n  state:    active")
    assert call("status", identifier + ".").stdout.startswith(f"{first}\n")
    assert call("status", first).stdout.startswith(f"{first}\n")
    again = submitted()
    several = call("status", "nightly-")
    assert several.exit_code == 2
    assert "is the beginning of several ids" in several.stderr
    assert again in several.stderr
    assert call("status", "weekly").exit_code == 3


@pytest.mark.parametrize("command", ["retry", "clean", "logs", "events", "priority"])
def test_commands_for_single_experiments_say_that_the_id_is_a_series(store: str, command: str) -> None:
    identifier = submitted()
    add_experiment(store, identifier)
    result = call(command, identifier, *(["high"] if command == "priority" else []))
    assert result.exit_code == 2
    assert f"{identifier} is a series: name one of its experiments, such as {identifier}.1" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_cancel_ends_the_series_and_its_experiments(store: str) -> None:
    identifier = submitted()
    first = add_experiment(store, identifier)
    result = call("cancel", identifier)
    assert result.exit_code == 0
    assert f"{identifier} is cancelled: no further experiment of it is made" in result.stderr
    assert f"{first} is cancelled" in result.stderr
    (only,) = json.loads(call("status", identifier, "-o", "json").stdout)["series"]
    assert (only["state"], only["next_due"]) == ("cancelled", None)
    assert identifier not in call("status").stdout.split()
    assert f"{identifier} is cancelled already" in call("cancel", identifier).stderr
    assert call("resume", identifier).exit_code == 2


def test_pause_and_resume_are_told_as_text_and_as_json(store: str) -> None:
    identifier = submitted()
    assert f"{identifier} is paused" in call("pause", identifier).stderr
    (only,) = json.loads(call("resume", identifier, "-o", "json").stdout)["series"]
    assert (only["id"], only["state"], only["changed"]) == (identifier, "active", True)
    assert only["next_due"] is not None
    assert "not paused" in call("resume", identifier).stderr


def test_wait_refuses_a_series_that_goes_on_and_waits_for_all_of_a_cancelled_one(store: str) -> None:
    identifier = submitted()
    first = add_experiment(store, identifier, state="succeeded")
    result = call("wait", identifier)
    assert result.exit_code == 2
    assert f"{identifier} is a series and goes on" in result.stderr
    assert call("wait", first).stdout == f"{first} succeeded\n"
    call("cancel", identifier)
    assert call("wait", identifier).stdout == f"{first} succeeded\n"


def test_ids_on_stdin_may_be_those_of_series(store: str) -> None:
    identifier = submitted()
    assert call("pause", "-", stdin=f"{identifier}\n").exit_code == 0
    with open_database(store) as db:
        row = series.get(db, identifier)
        assert row is not None
        assert row.state == "paused"


def test_the_folder_of_a_series_experiment_is_one_that_clean_removes(tmp_path: Path) -> None:
    from wlmctl.machine import Machine
    from wlmctl.plugins import transport_factory

    for name in ("nightly-k3f7qa.1", "nightly-k3f7qa.20"):
        folder = tmp_path / name
        (folder / ".wlmctl").mkdir(parents=True)
        with transport_factory("local")(Machine("local"), {}) as transport:
            assert clean_folders(transport, str(folder))
        assert not folder.exists()
    with transport_factory("local")(Machine("local"), {}) as transport:
        for name in ("nightly-k3f7qa.0", "nightly-k3f7qa.", "nightly-k3f7qa.1.2", "nightly.1"):
            with pytest.raises(ValueError, match="is no folder of an experiment"):
                clean_folders(transport, str(tmp_path / name))


def test_rows_of_parameters_make_a_series_each(store: str) -> None:
    Path("nightly.yaml").write_text(FILE.replace("tasks:", "params: {n: null}\ntasks:"))
    Path("rows.csv").write_text("n\n1\n2\n")
    result = call("submit", "nightly.yaml", "--params-file", "rows.csv")
    assert len(result.stdout.split()) == 2
    with open_database(store) as db:
        assert {row.id for row in series.going_on(db)} == set(result.stdout.split())


def test_the_document_and_its_digest_are_as_ever_where_there_is_no_schedule(store: str) -> None:
    from wlmctl.experiment import read, to_document
    from wlmctl.plugins import task_type

    assert "schedule" not in to_document(read("once.yaml", task_type=task_type))
    experiment = read("nightly.yaml", task_type=task_type)
    with open_database(store) as db:
        (written,) = submit_all(db, [experiment])
        assert series.document(db, written.id)["schedule"]["timezone"] == "Europe/Berlin"
