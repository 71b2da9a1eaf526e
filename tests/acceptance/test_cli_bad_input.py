"""Stores, streams and signals that go wrong, as real processes: one clear line, the documented code, no traceback."""

from __future__ import annotations

import base64
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commandline import WLMCTL, CommandLine
from tests.waiting import wait_until
from wlmctl.store import experiments, open_database
from wlmctl.store.schema import SCHEMA_VERSION

FILE = "name: pi\ntasks: {a: {type: job, command: 'true'}}\n"

#: A command that reads the store and one that writes it.
READS_AND_WRITES = [["status"], ["submit", "pi.yaml"]]


@pytest.fixture
def wlmctl(tmp_path: Path) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path)
    line.write("pi.yaml", FILE)
    yield line
    line.close()


def assert_one_line(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    for text in said:
        assert text in done.stderr


def made_store(wlmctl: CommandLine) -> Path:
    wlmctl.run("submit", "pi.yaml")
    assert wlmctl.store.exists()
    return wlmctl.store


@pytest.mark.parametrize("args", READS_AND_WRITES)
def test_a_broken_store_is_named(wlmctl: CommandLine, args: list[str]) -> None:
    wlmctl.store.parent.mkdir()
    wlmctl.store.write_bytes(b"no database at all\n" * 500)
    assert_one_line(wlmctl.run(*args, code=4), str(wlmctl.store), "broken")
    assert wlmctl.store.read_bytes() == b"no database at all\n" * 500


@pytest.mark.parametrize("args", READS_AND_WRITES)
def test_a_store_with_a_damaged_page_is_named(wlmctl: CommandLine, args: list[str]) -> None:
    store = made_store(wlmctl)
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(store.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    store.write_bytes(content)
    assert_one_line(wlmctl.run(*args, code=4), str(store))


@pytest.mark.parametrize("args", READS_AND_WRITES)
def test_a_newer_store_is_refused_with_what_to_do(wlmctl: CommandLine, args: list[str]) -> None:
    store = made_store(wlmctl)
    with sqlite3.connect(store) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    assert_one_line(wlmctl.run(*args, code=4), str(store), "upgrade wlmctl")


@pytest.mark.parametrize("args", READS_AND_WRITES)
def test_a_database_of_another_program_is_left_alone(wlmctl: CommandLine, args: list[str]) -> None:
    wlmctl.store.parent.mkdir()
    with sqlite3.connect(wlmctl.store) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    assert_one_line(wlmctl.run(*args, code=4), "another program")


@pytest.mark.parametrize("args", READS_AND_WRITES)
def test_a_folder_instead_of_a_store(wlmctl: CommandLine, args: list[str]) -> None:
    wlmctl.store.mkdir(parents=True)
    assert_one_line(wlmctl.run(*args, code=4), str(wlmctl.store))


def test_a_store_that_is_not_there_yet_has_nothing_in_it_and_is_not_made_by_who_reads_it(wlmctl: CommandLine) -> None:
    assert wlmctl.json("status") == {"version": 1, "experiments": [], "series": []}
    assert wlmctl.run("wait", "--state", "running").stdout == ""
    assert_one_line(wlmctl.run("logs", "pi-abcdef", code=3), "pi-abcdef")
    assert not wlmctl.store.parent.exists()


def test_a_store_under_a_file_cannot_be_made(wlmctl: CommandLine) -> None:
    (wlmctl.folder / "store").write_text("a file")
    assert_one_line(wlmctl.run("submit", "pi.yaml", code=4), str(wlmctl.store))


@contextmanager
def read_only(store: Path) -> Iterator[None]:
    """The store's files and their folder unwritable, also for root."""
    paths = [store.parent, *store.parent.iterdir()]
    if os.getuid() != 0:
        modes = [(path, path.stat().st_mode) for path in paths]
        for path, mode in modes:
            path.chmod(mode & ~0o222)
        yield
        for path, mode in modes:
            path.chmod(mode)
        return
    names = list(map(str, paths))
    try:
        if subprocess.run(["chattr", "+i", *names], capture_output=True, check=False).returncode:
            pytest.skip("root may write everything, and this file system has no immutable flag (chattr +i)")
        yield
    finally:
        subprocess.run(["chattr", "-i", *names], capture_output=True, check=False)


def test_a_read_only_store_refuses_what_writes_and_stays_as_it_is(wlmctl: CommandLine) -> None:
    store = made_store(wlmctl)
    with read_only(store):
        for args in (["submit", "pi.yaml"], ["cancel", "pi"], ["pause", "pi"]):
            assert_one_line(wlmctl.run(*args, code=4), str(store))
    assert len(wlmctl.ids()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_under_the_store_loses_nothing_that_was_there(wlmctl: CommandLine, small_disk: Path) -> None:
    wlmctl.store = small_disk / "wlmctl.db"
    wlmctl.environ["WLMCTL_STORE"] = f"sqlite:///{wlmctl.store}"
    first = wlmctl.run("submit", "pi.yaml").stdout.strip()
    big = "name: big\ntasks: {a: {type: job, foreach: {i: 1..50000}, command: 'true'}}\n"
    wlmctl.write("big.yaml", big)
    done = wlmctl.run("submit", "big.yaml", code=4)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert str(wlmctl.store) in done.stderr
    assert wlmctl.ids() == [first]


def test_a_disk_that_is_full_from_the_start_is_told(wlmctl: CommandLine, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    wlmctl.environ["WLMCTL_STORE"] = f"sqlite:///{small_disk / 'wlmctl.db'}"
    assert_one_line(wlmctl.run("submit", "pi.yaml", code=4), str(small_disk / "wlmctl.db"))


@pytest.mark.parametrize(
    "url", ["wlmctl.db", "sqlite://", "mysql://x/y", "sqlite:///", "sqlite:///a\nb"], ids=lambda url: repr(url)
)
def test_a_wrong_store_url_is_bad_usage(wlmctl: CommandLine, url: str) -> None:
    assert_one_line(wlmctl.run("--store", url, "status", code=2), "--store")


def test_a_server_that_is_not_there_is_code_4_and_shows_no_password(wlmctl: CommandLine) -> None:
    wlmctl.environ["WLMCTL_STORE"] = "postgresql://me:s3cret@127.0.0.1:1/db"
    done = wlmctl.run("status", code=4)
    assert_one_line(done, "it does not answer")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["schema"], ["status"], ["status", "-o", "json"]])
def test_a_full_device_as_stdout_is_code_4(wlmctl: CommandLine, args: list[str]) -> None:
    made_store(wlmctl)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*WLMCTL, *args], cwd=wlmctl.folder, env=wlmctl.environ, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 4
    assert done.stderr == b"wlmctl: stdout: No space left on device\n"


def test_an_id_that_cannot_be_told_is_not_submitted(wlmctl: CommandLine) -> None:
    made_store(wlmctl)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*WLMCTL, "submit", "pi.yaml"],
            cwd=wlmctl.folder, env=wlmctl.environ, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr == b"wlmctl: stdout: No space left on device\n"
    assert len(wlmctl.ids()) == 1


def shell(wlmctl: CommandLine, script: str) -> subprocess.CompletedProcess[str]:
    """The script, with ``$WLMCTL`` for the command."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=wlmctl.folder, env={**wlmctl.environ, "WLMCTL": " ".join(WLMCTL)}, text=True, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("args", ["--help", "status -o json", "submit pi.yaml"])
def test_a_closed_stdout_is_code_4_and_nothing_is_half_done(wlmctl: CommandLine, args: str) -> None:
    made_store(wlmctl)
    done = shell(wlmctl, f"$WLMCTL {args} >&-")
    assert (done.returncode, done.stderr) == (4, "wlmctl: stdout: it is closed\n")
    assert len(wlmctl.ids()) == 1
    with open_database(f"sqlite:///{wlmctl.store}") as db:
        assert db.row("PRAGMA integrity_check")[0] == "ok"


def test_a_command_without_results_needs_no_stdout(wlmctl: CommandLine) -> None:
    made_store(wlmctl)
    assert shell(wlmctl, "$WLMCTL cancel pi >&-").returncode == 0
    assert shell(wlmctl, "$WLMCTL status pi >/dev/null 2>&- <&-").returncode == 0


@pytest.mark.parametrize("args", [["--help"], ["schema"], ["status", "-o", "json"]])
def test_a_closed_pipe_is_141_quietly(wlmctl: CommandLine, args: list[str]) -> None:
    made_store(wlmctl)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*WLMCTL, *args], cwd=wlmctl.folder, env=wlmctl.environ, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_waiting_command_with_its_code(wlmctl: CommandLine, number: signal.Signals, code: int) -> None:
    made_store(wlmctl)
    process = wlmctl.start("wait", "pi")
    wait_until(lambda: "no orchestrator" in wlmctl.said(process), "it waits")
    process.send_signal(number)
    assert process.wait(60) == code
    assert "Traceback" not in wlmctl.said(process)


def test_a_bug_in_a_plugin_is_70_with_a_traceback(wlmctl: CommandLine) -> None:
    script = (
        "import click, wlmctl.plugins as plugins\n"
        "plugins.command_names = lambda: ['boom']\n"
        "plugins.command = lambda name: click.Command('boom', callback=lambda: 1 / 0)\n"
        "import sys; sys.argv = ['wlmctl', 'boom']\n"
        "from wlmctl.cli.main import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=wlmctl.environ, text=True, capture_output=True, check=False
    )
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr


def test_files_that_cannot_be_read_are_one_line_each(wlmctl: CommandLine) -> None:
    for name in ("missing.yaml", ".", "no/such/folder/x.yaml"):
        assert_one_line(wlmctl.run("submit", name, code=2), name)
    for name in ("missing.csv", "."):
        assert_one_line(wlmctl.run("submit", "pi.yaml", "--params-file", name, code=2), name)
    assert_one_line(wlmctl.run("--config", "missing.toml", "status", code=2), "missing.toml")
    assert not wlmctl.store.exists()


def test_an_unknown_id_is_code_3_everywhere(wlmctl: CommandLine) -> None:
    made_store(wlmctl)
    for command in ("status", "wait", "logs", "events", "cancel", "pause", "resume", "retry"):
        assert_one_line(wlmctl.run(command, "nope-aaaaaa", code=3), "nope-aaaaaa")
    assert_one_line(wlmctl.run("priority", "nope-aaaaaa", "high", code=3), "nope-aaaaaa")


def test_words_that_are_not_utf8_are_one_line(wlmctl: CommandLine) -> None:
    made_store(wlmctl)
    word = os.fsdecode(b"a\xff")
    for args in (["status", word], ["status", "--label", word], ["submit", "pi.yaml", "--key", word]):
        assert_one_line(wlmctl.run(*args, code=2), r"'a\xff': this is not UTF-8")
    assert_one_line(wlmctl.run("logs", "pi", word, code=2), "expected a task")


def test_an_experiment_in_a_folder_whose_name_is_not_utf8_is_stored_with_it(wlmctl: CommandLine) -> None:
    folder = os.fsencode(wlmctl.folder) + b"/odd\xff"
    os.mkdir(folder)
    with open(folder + b"/pi.yaml", "w") as file:
        file.write(FILE)
    wlmctl.run("submit", os.fsdecode(folder + b"/pi.yaml"))
    (found,) = wlmctl.json("status")["experiments"]
    assert base64.b64decode(found["folder"]["b64"]) == folder
    with open_database(f"sqlite:///{wlmctl.store}", create=False) as db:
        assert os.fsencode(experiments.find(db, "pi").folder) == folder


def test_in_a_locale_that_is_not_utf8_a_value_that_is_no_ascii_reaches_its_job(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    line.write("é.yaml", "name: pi\ntasks: {a: {type: job, command: [echo, '${v}'], foreach: {v: [é]}}}\n")
    line.run("run", "é.yaml")
    [experiment] = line.json("status")["experiments"]
    assert line.run("logs", experiment["id"], "a").stdout.splitlines()[-1] == "é"
    line.close()
