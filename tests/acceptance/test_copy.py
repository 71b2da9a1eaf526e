"""``wlmctl copy`` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.services.relay import Relay
from tests.services.sshd import Farm, Inventory
from tests.transfers import leftovers, tree
from tests.waiting import wait_until

WLMCTL = [sys.executable, "-m", "wlmctl", "copy"]


@pytest.fixture
def inventory(farm: Farm, tmp_path: Path) -> Inventory:
    return farm.write_inventory(tmp_path / "inventory", transports={"beta": "scp"})


@pytest.fixture
def data(inventory: Inventory) -> Path:
    data = inventory.folder / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.txt").write_text("A")
    (data / "sub" / "b").write_bytes(os.urandom(1_000_000))
    return data


def run(inventory: Inventory, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WLMCTL, *map(str, arguments)],
        cwd=inventory.folder,
        env={**os.environ, **inventory.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_files_go_up_across_and_down(farm: Farm, inventory: Inventory, data: Path) -> None:
    up = run(inventory, "local:data", "alpha:in/")
    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.startswith("2 files, 1,000,001 bytes in ")
    assert run(inventory, "alpha:in/data/", "beta:~/over").returncode == 0
    assert tree(farm["beta"].home / "over") == tree(data)
    assert run(inventory, "beta:over/*.txt", "alpha:in/data/sub", "local:back/").returncode == 0
    assert sorted(tree(inventory.folder / "back")) == ["a.txt", "sub", "sub/b"]


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a command, one a line."""
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_the_plan_first_and_the_summary_last(inventory: Inventory, data: Path) -> None:
    said = lines(run(inventory, "local:data", "local:out", "-o", "json", "--verify", "size").stdout)
    assert {line["version"] for line in said} == {1}
    assert (said[0]["kind"], said[0]["files"], said[0]["size_bytes"]) == ("plan", 2, 1_000_001)
    done = said[-1]
    assert (done["kind"], done["files"], done["size_bytes"], done["verify"]) == ("summary", 2, 1_000_001, "size")
    assert {"duration_s", "skipped", "resumed_bytes", "sent_bytes", "reused"} <= set(done)


def test_progress_as_json_has_rate_and_time_left_and_comes_once_a_second(inventory: Inventory, data: Path) -> None:
    (data / "long").write_bytes(os.urandom(3_000_000))
    done = run(inventory, "local:data/long", "alpha:long", "--bwlimit", "1MB", "-o", "json")
    said = lines(done.stdout)
    progress = [line for line in said if line["kind"] == "progress"]
    assert 1 <= len(progress) <= said[-1]["duration_s"] + 1
    assert progress[-1]["bytes_total"] == 3_000_000
    assert 0 < progress[-1]["bytes_done"] <= 3_000_000
    assert 0.2e6 < progress[-1]["rate_bytes_s"] < 1.6e6
    assert progress[-1]["left_s"] is not None
    assert 2.4 < said[-1]["duration_s"] < 15, "3 MB at 1 MB a second"


@pytest.mark.parametrize("rate", ["0", "fast", "-1"])
def test_a_rate_that_is_none_is_one_line(inventory: Inventory, data: Path, rate: str) -> None:
    ended = run(inventory, "local:data", "alpha:x", "--bwlimit", rate)
    assert ended.returncode == 2
    assert "such as 10MiB" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_dry_run_writes_nothing(inventory: Inventory, data: Path) -> None:
    shown = run(inventory, "local:data/", "alpha:dry", "--dry-run", "--exclude", "sub")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "1 file, 1 byte would be copied"
    *items, made = lines(run(inventory, "local:data", "alpha:dry", "--dry-run", "-o", "json").stdout)
    assert [item["type"] for item in items] == ["directory", "file", "directory", "file"]
    assert (made["kind"], made["files"]) == ("plan", 2)


def test_a_dry_run_tells_apart_what_is_there_already(farm: Farm, inventory: Inventory, data: Path) -> None:
    (data / "link").symlink_to("a.txt")
    assert run(inventory, "local:data", "alpha:there").returncode == 0
    (data / "new").write_text("new")
    (farm["alpha"].home / "there" / "a.txt").write_text("B")
    os.utime(farm["alpha"].home / "there" / "a.txt", (0, 0))
    said = run(inventory, "local:data", "alpha:there", "--dry-run").stdout.splitlines()
    assert said[-1] == (
        "1 file, 3 bytes would be copied, and of 3 more, 1,000,001 bytes, what has another content than is there"
    )
    assert sum(line.endswith(" bytes, the same size is there)") for line in said) == 1
    by_size = run(inventory, "local:data", "alpha:there", "--dry-run", "--verify", "size").stdout.splitlines()
    assert by_size[-1] == "2 files, 4 bytes would be copied, 2 there already"
    anyway = run(inventory, "local:data", "alpha:there", "--dry-run", "--verify", "none").stdout.splitlines()
    assert anyway[-1] == "3 files, 1,000,004 bytes would be copied, 1 there already"
    *items, made = lines(run(inventory, "local:data", "alpha:there", "--dry-run", "-o", "json").stdout)
    assert {Path(item["source"]).name for item in items if item["alike"]} == {"a.txt", "b", "link"}
    assert (made["files"], made["alike"], made["alike_bytes"]) == (4, 3, 1_000_001)
    assert (farm["alpha"].home / "there" / "a.txt").read_text() == "B"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("data", "alpha:x"), 2, "data: names no machine"),
        (("local:data", "out"), 2, "out: names no machine"),
        (("", "alpha:x"), 2, "'': is empty, expected MACHINE:PATH"),
        (("local:data/*", "alpha:x"), 2, "need a destination with a final slash"),
        (("local:data", "local:x", "alpha:y"), 2, "need a destination with a final slash"),
        (("local:data", "nowhere:x"), 3, "no machine 'nowhere'"),
        (("local:nope", "alpha:x"), 1, "does not exist"),
        (("local:data/*.csv", "alpha:x/"), 1, "nothing matches this pattern"),
        (("local:data",), 2, "'local:data' alone, expected at least one SRC and a DST"),
        (("local:data", "local:data/"), 1, "would be copied into itself"),
        (("local:data", "alpha:x", "--exclude", ""), 2, "--exclude '': is empty, expected a pattern"),
        (("local:data", "alpha:x", "--verify", "md5"), 2, "md5"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(
    inventory: Inventory, data: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ended = run(inventory, *arguments)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""


def test_a_machine_that_does_not_answer_is_exit_code_4(farm: Farm, inventory: Inventory, data: Path) -> None:
    gone = farm.add("gone")
    other = farm.write_inventory(inventory.folder)
    gone.stop()
    del farm.machines["gone"]
    ended = run(other, "local:data", "gone:x")
    assert ended.returncode == 4
    assert len(ended.stderr.splitlines()) == 1


def test_an_experiments_folder_is_named_by_its_id_and_role(inventory: Inventory, data: Path) -> None:
    (inventory.folder / "e.yaml").write_text(
        "name: made\nmachines: {compute: alpha}\ntasks:\n"
        "  note: {type: environment, machine: compute, files: {out/note: {content: hello}}}\n"
    )
    store = ["--store", f"sqlite:///{inventory.folder}/wlmctl.db"]
    ran = subprocess.run(
        [*WLMCTL[:-1], *store, "run", "e.yaml"],
        cwd=inventory.folder,
        env={**os.environ, **inventory.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    experiment = ran.stdout.split()[0]
    assert run(inventory, f"{experiment}/compute:out/note", "local:back").returncode == 0
    assert (inventory.folder / "back").read_text() == "hello"
    assert run(inventory, "no-such-abc234/compute:x", "local:y").returncode == 3
    assert run(inventory, f"{experiment}/compute:../../x", "local:y").returncode == 2


def begin(inventory: Inventory, *arguments: str) -> subprocess.Popen[str]:
    """A copy that runs on its own."""
    return subprocess.Popen(
        [*WLMCTL, *arguments], cwd=inventory.folder, env={**os.environ, **inventory.env}, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@pytest.mark.parametrize(("machine", "number", "code"), [("alpha", signal.SIGINT, 130), ("beta", signal.SIGTERM, 143)])
def test_an_interrupted_copy_leaves_no_partial_file_and_the_same_command_goes_on(
    farm: Farm, inventory: Inventory, machine: str, number: int, code: int
) -> None:
    big = inventory.folder / "big"
    big.write_bytes(os.urandom(40_000_000))
    target = farm[machine].home / f"to-{number}"
    process = begin(inventory, "local:big", f"{machine}:{target.name}/", "--bwlimit", "8MB")
    wait_until(lambda: any(path.stat().st_size > 6_000_000 for path in target.glob(".*")), "bytes have arrived", 60)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert told.splitlines() == [
        "wlmctl: interrupted; no partial file has a final name, and the same command goes on from here"
    ]
    assert not (target / "big").exists()
    again = run(inventory, "local:big", f"{machine}:{target.name}/", "-o", "json")
    done = lines(again.stdout)[-1]
    assert 5_000_000 < done["resumed_bytes"] < 40_000_000
    assert done["sent_bytes"] + done["resumed_bytes"] == 40_000_000
    assert (target / "big").read_bytes() == big.read_bytes()
    assert leftovers(farm[machine].home) == []


def test_a_copy_that_waits_for_a_connection_says_so(farm: Farm, inventory: Inventory, data: Path) -> None:
    (inventory.folder / "big").write_bytes(os.urandom(20_000_000))
    narrow = farm.write_inventory(inventory.folder, extra={"alpha": "max_connections = 1"})
    (narrow.folder / "e.yaml").write_text("name: made\ntasks: {one: {type: environment, directories: [made]}}\n")
    subprocess.run([*WLMCTL[:-1], "run", "e.yaml"], cwd=narrow.folder, check=True)  # without a store nothing is counted
    target = farm["alpha"].home / "first"
    first = begin(narrow, "local:big", "alpha:first/", "--bwlimit", "1MB")
    wait_until(lambda: target.exists() and any(target.iterdir()), "bytes have arrived", 60)
    second = begin(narrow, "local:data", "alpha:second")
    assert second.stderr is not None
    told = second.stderr.readline()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert told == "wlmctl: waits until others leave alpha to it (max_connections, commands_per_minute)\n"
    assert second.returncode == 0
    assert tree(farm["alpha"].home / "second") == tree(data)


def test_a_copy_that_is_interrupted_during_its_login_says_that_nothing_was_written(
    farm: Farm, inventory: Inventory, data: Path
) -> None:
    with Relay(farm["alpha"].address, farm["alpha"].port) as relay:
        far = farm.write_inventory(inventory.folder, ways={"alpha": (relay.address, relay.port)})
        relay.fail("stall", "up", 100)
        process = begin(far, "local:data", "alpha:never")
        wait_until(lambda: relay.has_failed, "the machine has fallen silent", 60)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (130, "wlmctl: interrupted before anything was written\n")


@pytest.mark.parametrize("machine", ["alpha", "beta"])
def test_a_copy_that_a_silent_machine_keeps_waiting_can_be_interrupted(
    farm: Farm, inventory: Inventory, machine: str
) -> None:
    (inventory.folder / "big").write_bytes(os.urandom(20_000_000))
    with Relay(farm[machine].address, farm[machine].port) as relay:
        ways = {machine: (relay.address, relay.port)}
        far = farm.write_inventory(inventory.folder, transports={"beta": "scp"}, ways=ways)
        relay.fail("stall", "up", 8_000_000)
        process = begin(far, "local:big", f"{machine}:silent-{machine}")
        wait_until(lambda: relay.has_failed, "the machine has fallen silent", 60)
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        took_s = time.monotonic() - began_s
    assert process.returncode == 130
    assert took_s < 15, "the machine's time-out is 30 s"
    assert not (farm[machine].home / f"silent-{machine}").exists()
