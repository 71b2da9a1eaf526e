"""Whole experiments on real sshd machines: odd names and values, machines that are only read from, cut connections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.services.relay import Relay
from tests.services.sshd import Farm, open_farm, require_sshd

NAMES = [b"a b", b"q'uote\"", b"new\nline", b"$(touch pwned)", b";ls", b"-rf", b"\xff\xfe", b"~", b"*", b"back\\slash"]

CHAIN = r"""
name: chain
tasks:
  up: {type: stage, from: "local:src/", to: "alpha:d ir\n$(x)/"}
  scp: {type: stage, needs: [up], from: "alpha:d ir\n$(x)/", to: "beta:-d '\"/"}
  same: {type: stage, needs: [scp], from: "beta:-d '\"/", to: "beta:~two/"}
  files: {type: stage, needs: [same], from: "beta:~two/", to: "gamma:;rm ~/"}
  down: {type: stage, needs: [files], from: "gamma:;rm ~/", to: "local:back"}
"""

VALUES = ["a b", "q'\\\"", "$(id)", "; ls", "-rf", "~", "é", "l1\\nl2"]
ODD = """
name: odd
tasks:
  write:
    type: job
    machine: alpha
    directory: "we ird\\n'$(x)/;-rf/~"
    foreach: {v: [%s]}
    env: {V: "${v}"}
    command: [sh, -c, 'test "$V" = "$1" && printf "%%s" "$1" > "out $1"', x, "${v}"]
    outputs: {o: {file: "out ${v}"}}
  read:
    type: job
    needs: ["write[${v}]"]
    machine: beta
    foreach: {v: [%s]}
    command: [printf, "<%%s>", "${tasks.write[${v}].outputs.o}"]
"""


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """``alpha`` with all that OpenSSH has, ``beta`` without SFTP, ``gamma`` without a shell."""
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("machines"), names=["alpha"]) as farm:
        farm.add("beta", no_sftp=True)
        farm.add("gamma", sftp_only=True)
        yield farm


@pytest.fixture
def cli(farm: Farm, tmp_path: Path) -> Iterator[CommandLine]:
    """A folder whose inventory has ``alpha`` by SFTP, ``beta`` by SCP with one connection, and ``gamma``."""
    extra = {"beta": "max_connections = 1\n", "gamma": 'shell = "none"\n'}
    inventory = farm.write_inventory(tmp_path / "site", transports={"beta": "scp"}, extra=extra)
    line = CommandLine(inventory.folder, inventory.env)
    yield line
    line.close()


def tree(folder: Path) -> dict[bytes, tuple[int, int, bytes]]:
    """Each file's mode, mtime in seconds and content."""
    found = {}
    for where, _, names in os.walk(bytes(folder)):
        for name in names:
            path = os.path.join(where, name)
            status = os.stat(path)
            with open(path, "rb") as file:
                found[os.path.relpath(path, bytes(folder))] = (status.st_mode, int(status.st_mtime), file.read())
    return found


def leftovers(*folders: Path) -> list[str]:
    return [str(path) for folder in folders for path in folder.rglob(".*.wlm-*")]


def test_names_of_any_bytes_go_through_machines_of_every_kind(cli: CommandLine, farm: Farm) -> None:
    source = cli.folder / "src"
    (source / "sub").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        path = os.path.join(bytes(source / "sub" if number % 2 else source), name)
        with open(path, "wb") as file:
            file.write(b"x" * number)
        os.chmod(path, 0o600 + number % 8)
        os.utime(path, (1e9 + number, 1e9 + number))
    cli.run("run", cli.write("chain.yaml", CHAIN))
    assert tree(cli.folder / "back") == tree(source)
    assert len(tree(source)) == len(NAMES)
    assert not list(cli.folder.rglob("pwned"))
    assert leftovers(cli.folder, *(machine.home for machine in farm.machines.values())) == []


def test_values_of_any_text_reach_jobs_and_outputs_as_they_are(cli: CommandLine) -> None:
    values = ", ".join(f'"{value}"' for value in VALUES)
    cli.run("run", cli.write("odd.yaml", ODD % (values, values)))
    logs = cli.json("logs", "odd", "read")
    texts = [entry["text"] for entry in logs["logs"] if entry["stream"] == "stdout"]
    assert texts == ["<a b>", "<q'\">", "<$(id)>", "<; ls>", "<-rf>", "<~>", "<é>", "<l1\nl2>"]


NEAR = """
name: near
machines: {r: {requires: {labels: [site]}}}
tasks:
  one: {type: stage, from: "local:one", to: "alpha:in/"}
  two: {type: stage, from: "local:two", to: "beta:in/"}
  join: {type: stage, needs: [one, two], from: ["alpha:in/one", "beta:in/two"], to: "r:all/"}
"""


def test_a_role_is_bound_where_most_of_what_its_tasks_read_was_staged(cli: CommandLine, farm: Farm) -> None:
    config = cli.folder / "wlmctl.toml"
    with_labels = config.read_text().replace('host = "', 'labels = ["site"]\nhost = "')
    config.write_text(f'scheduler = "matchmaking"\n{with_labels}')
    (cli.folder / "one").write_bytes(b"x" * 1_000)
    (cli.folder / "two").write_bytes(b"x" * 300_000)
    cli.run("run", cli.write("near.yaml", NEAR))
    told = cli.json("explain", "near", "join")
    assert [fact["text"] for fact in told["facts"] if fact["code"] == "bound_near"] == [
        "the role r was bound to beta, where 300,000 bytes of what its tasks read had been put"
    ], "alpha is where it would go by its name"
    assert [path.stat().st_size for path in sorted(farm["beta"].home.rglob("all/*"))] == [1_000, 300_000]


def test_a_machine_that_is_only_read_from_needs_no_scratch_folder(cli: CommandLine, farm: Farm) -> None:
    data = farm["alpha"].home / "readings.csv"
    data.write_text("1,2\n")
    (farm["alpha"].home / "file").write_text("in the way")
    config = cli.folder / "wlmctl.toml"
    config.write_text(config.read_text().replace('host = "alpha"', 'host = "alpha"\nscratch = "~/file/scratch"'))
    cli.write("fetch.yaml", f"name: fetch\ntasks: {{a: {{type: stage, from: 'alpha:{data}', to: local:got/}}}}\n")
    assert cli.json("plan", "fetch.yaml")["problems"] == []
    cli.run("run", "fetch.yaml")
    assert (cli.folder / "got" / "readings.csv").read_text() == "1,2\n"
    cli.write("put.yaml", "name: put\ntasks: {a: {type: stage, from: local:got/, to: alpha:there/}}\n")
    assert "scratch" in cli.json("plan", "put.yaml", code=1)["problems"][0]
    assert "machine alpha: scratch:" in cli.run("run", "put.yaml", code=1).stderr


def test_jobs_say_nothing_of_waiting_before_their_machine_has_said_what_it_has(cli: CommandLine) -> None:
    config = cli.folder / "wlmctl.toml"
    config.write_text(config.read_text().replace('host = "alpha"', 'host = "alpha"\nmax_jobs = 1'))
    text = "name: few\ntasks: {a: {type: job, machine: alpha, foreach: {i: 1..2}, command: 'true'}}\n"
    assert "waits" not in cli.run("run", cli.write("few.yaml", text)).stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("store =", 'scheduler = "nope"\nstore =', "scheduler 'nope': no such plugin"),
        ("store =", "scheduler_options = {step = 1}\nstore =", "scheduler_options.step: unknown option of fifo"),
        ('host = "alpha"', 'host = "alpha"\nbatch_options = {a = 1}', "the batch system shell has no options"),
        ('host = "alpha"', 'host = "alpha"\nbatch = "nope"', "batch system 'nope': no such plugin"),
    ],
)
def test_a_setting_that_no_plugin_takes_ends_a_run_before_anything_is_written(
    cli: CommandLine, old: str, new: str, said: str
) -> None:
    config = cli.folder / "wlmctl.toml"
    config.write_text(config.read_text().replace(old, new))
    cli.write("one.yaml", "name: one\ntasks: {a: {type: job, machine: alpha, command: 'true'}}\n")
    done = cli.run("run", "one.yaml", code=2)
    assert said in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert cli.ids() == []
    assert any(said in problem for problem in cli.json("plan", "one.yaml", code=1)["problems"])


def test_a_connection_cut_in_mid_transfer_costs_a_new_attempt_and_leaves_nothing(cli: CommandLine, farm: Farm) -> None:
    big = cli.folder / "big.bin"
    big.write_bytes(os.urandom(1 << 20) * 60)
    cli.write("cut.yaml", "name: cut\ntasks: {a: {type: stage, from: local:big.bin, to: beta:in/}}\n")
    home = farm["beta"].home
    with Relay(farm["beta"].address, farm["beta"].port) as relay:
        ways = {"beta": (relay.address, relay.port)}
        farm.write_inventory(cli.folder, transports={"beta": "scp"}, ways=ways)
        relay.fail("reset", "up", 30 << 20)
        cli.run("run", "cut.yaml")
        assert relay.has_failed
    (arrived,) = home.rglob("big.bin")
    assert arrived.read_bytes() == big.read_bytes()
    assert leftovers(home) == []
    task = cli.tasks("cut")["a"]
    assert (task["state"], task["attempt"]) == ("succeeded", 2)


def test_a_file_that_hides_its_size_is_refused_and_not_delivered_empty(cli: CommandLine) -> None:
    stages = "".join(
        f"  {role}: {{type: stage, from: '{role}:/proc/version', to: 'local:got/{role}'}}\n"
        for role in ("alpha", "beta", "gamma")
    )
    done = cli.run("run", cli.write("proc.yaml", f"name: proc\ntasks:\n{stages}"), code=1)
    for role in ("alpha", "beta", "gamma"):
        assert f"  {role}: {role}:/proc/version: " in done.stderr
    assert list(cli.folder.glob("got/*")) == []
