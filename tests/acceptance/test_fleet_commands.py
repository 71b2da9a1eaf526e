"""A fleet by its commands: orchestrator and workers as processes, over a real RabbitMQ."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Rabbit, Vhost, open_node
from tests.services.sshd import Farm
from tests.waiting import wait_until

FILE = """
name: squares
tasks:
  square: {type: job, foreach: {n: 1..6}, command: "echo $((${n} * ${n})) > square-${n}.txt"}
  sum: {type: job, needs: [square], command: cat square-*.txt | paste -sd+ > sum.txt}
"""


@pytest.fixture
def line(tmp_path: Path, vhost: Vhost) -> Iterator[CommandLine]:
    """A fleet's commands, on SQLite."""
    with opened(CommandLine(tmp_path, {"WLMCTL_BROKER": vhost.url})) as line:
        yield line


@pytest.fixture
def on_either(tmp_path: Path, vhost: Vhost, store_url: str) -> Iterator[CommandLine]:
    """The same on each kind of store."""
    with opened(CommandLine(tmp_path, {"WLMCTL_BROKER": vhost.url}, store_url=store_url)) as line:
        yield line


@contextmanager
def opened(line: CommandLine) -> Iterator[CommandLine]:
    line.write("squares.yaml", FILE)
    yield line
    line.close()


def workers(line: CommandLine, *options: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in line.json("worker", "list", *options)["workers"]}


def start_workers(line: CommandLine, *names: str, options: tuple[str, ...] = ()) -> list[subprocess.Popen[str]]:
    """Workers with these names, once the orchestrator knows them."""
    started = [line.start("worker", "--name", name, "--slots", "2", *options) for name in names]
    wait_until(lambda: set(names) <= workers(line).keys(), "the workers are known", 60)
    return started


def submit(line: CommandLine, *arguments: str, text: str = "squares.yaml") -> str:
    done = line.run("submit", text, *arguments)
    return done.stdout.strip()


def test_an_experiment_goes_through_two_workers_to_its_end(on_either: CommandLine) -> None:
    line = on_either
    line.start("orchestrator")
    start_workers(line, "one", "two")
    done = line.run("submit", "squares.yaml")
    assert done.stderr == ""
    identifier = done.stdout.strip()
    assert line.run("wait", identifier, "--timeout", "60").stdout == f"{identifier} succeeded\n"
    assert (line.folder / "sum.txt").read_text() == "1+4+9+16+25+36\n"
    known = {each["id"] for each in workers(line).values()}
    assert {task["worker"] for task in line.tasks(identifier).values()} <= known
    text = line.run("status", identifier).stdout
    assert any(line.split()[4:5] in (["one"], ["two"]) for line in text.splitlines()), text


def test_quorum_queues_carry_it_too(line: CommandLine, rabbit: Rabbit, vhost: Vhost) -> None:
    line.write("wlmctl.toml", 'queue_type = "quorum"\n')
    line.start("orchestrator")
    start_workers(line, "one")
    line.run("wait", submit(line), "--timeout", "60")
    queue = rabbit.queue(vhost.name, "wlm.work.job")
    assert queue is not None
    assert queue["type"] == "quorum"


def test_a_client_needs_only_the_store(line: CommandLine, vhost: Vhost) -> None:
    line.start("orchestrator")
    start_workers(line, "one")
    line.environ["WLMCTL_BROKER"] = vhost.url.replace(vhost.password, "planted-wrong")
    identifier = submit(line)
    line.run("wait", identifier, "--timeout", "60")
    del line.environ["WLMCTL_BROKER"]
    assert line.run("submit", "squares.yaml").stderr == ""


def test_drain_has_a_worker_finish_and_end_and_the_other_goes_on(on_either: CommandLine) -> None:
    line = on_either
    line.start("orchestrator")
    one, two = start_workers(line, "one", "two")
    drained = line.run("worker", "drain", "one", "--wait", "--timeout", "60")
    assert drained.stdout.endswith(" gone\n")
    assert "finishes what it has begun" in drained.stderr
    assert one.wait(60) == 0
    assert line.said(one).endswith(" INFO drained\n")
    assert workers(line).keys() == {"two"}
    assert workers(line, "--all")["one"]["state"] == "gone"
    identifier = submit(line)
    line.run("wait", identifier, "--timeout", "60")
    two.send_signal(signal.SIGTERM)
    assert two.wait(60) == 0
    wait_until(lambda: not workers(line), "the orchestrator has heard its goodbye")


def test_after_the_end_no_message_and_no_worker_queue_is_left(line: CommandLine) -> None:
    line.start("orchestrator")
    started = start_workers(line, "one", "two")
    line.run("wait", submit(line), "--timeout", "60")
    for worker in started:
        worker.terminate()
    assert [worker.wait(60) for worker in started] == [0, 0]
    wait_until(lambda: not any(each["ready"] for each in line.json("queue", "list")["queues"]), "all is read")
    wait_until(
        lambda: not any(each["worker"] for each in line.json("queue", "list")["queues"]), "no worker has a queue"
    )


def test_a_second_signal_breaks_off_what_a_worker_does(line: CommandLine) -> None:
    line.start("orchestrator")
    (worker,) = start_workers(line, "one")
    line.write("long.yaml", "name: long\ntasks:\n  a: {type: environment, commands: ['sleep 300']}\n")
    identifier = submit(line, text="long.yaml")
    wait_until(lambda: line.tasks(identifier)["a"]["state"] == "running", "the step runs", 60)
    worker.terminate()
    wait_until(lambda: "draining" in line.said(worker), "it drains")
    worker.terminate()
    assert worker.wait(60) == 143
    line.run("cancel", identifier)


def test_local_on_makes_local_the_host_of_a_worker(line: CommandLine, tmp_path: Path) -> None:
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\n')
    line.start("orchestrator")
    start_workers(line, "box", options=("--label", "gpu"))
    identifier = submit(line, "--local-on", "gpu")
    line.run("wait", identifier, "--timeout", "60")
    assert not (line.folder / "sum.txt").exists()
    assert (tmp_path / "scratch" / identifier / "sum.txt").read_text() == "1+4+9+16+25+36\n"


def test_what_lies_on_a_workers_host_is_found_and_cleaned_there(line: CommandLine, tmp_path: Path) -> None:
    line.write("wlmctl.toml", f'[machines.local]\nscratch = "{tmp_path}/scratch"\n')
    line.start("orchestrator")
    start_workers(line, "box")
    identifier = submit(line, "--local-on", "box")
    line.run("wait", identifier, "--timeout", "60")
    status = line.run("status", identifier).stdout
    assert f"local:    on box: host {socket.gethostname()}\n" in status
    assert "@" not in status.partition("machines:")[2].partition("\n")[0]
    line.run("copy", f"{identifier}/local:sum.txt", f"local:{tmp_path}/copied.txt")
    assert (tmp_path / "copied.txt").read_text() == "1+4+9+16+25+36\n"
    assert line.run("logs", identifier, "sum", "--full").stdout == ""
    line.run("clean", identifier)
    assert not (tmp_path / "scratch" / identifier).exists()


def test_a_worker_reaches_a_machine_that_it_has_never_seen(
    line: CommandLine, vhost: Vhost, farm: Farm, tmp_path: Path
) -> None:
    hub = farm.write_inventory(tmp_path / "hub")
    line.folder = hub.folder
    hub.known_hosts.write_text("")
    line.environ |= hub.env
    stored = line.run("machine", "trust", "alpha", "--yes").stdout
    assert f"alpha: stored for the workers in {line.environ['WLMCTL_STORE']}" in stored
    line.start("orchestrator")

    far = farm.write_inventory(tmp_path / "far")  # another host, whose SSH knows how to log in and trusts nobody
    far.known_hosts.write_text("")
    far.config.write_text("")
    worker = CommandLine(far.folder, {"WLMCTL_BROKER": vhost.url, **far.env})
    try:
        worker.start("worker", "--name", "far")
        wait_until(lambda: "far" in workers(line), "the worker is known", 60)
        line.write("there.yaml", "name: there\ntasks:\n  a: {type: job, machine: alpha, command: hostname}\n")
        identifier = submit(line, text="there.yaml")
        assert line.run("wait", identifier, "--timeout", "60").stdout == f"{identifier} succeeded\n"
        assert far.known_hosts.read_text() == ""
    finally:
        worker.close()


@pytest.mark.parametrize("command", ["worker", "orchestrator"])
def test_a_wrong_password_ends_a_process_with_4_at_once(line: CommandLine, vhost: Vhost, command: str) -> None:
    line.environ["WLMCTL_BROKER"] = vhost.url.replace(vhost.password, "planted-wrong")
    done = line.run(command, code=4, timeout_s=60)
    said = [each for each in done.stderr.splitlines() if "login refused" in each]
    assert len(said) == 1
    assert said[0].startswith("wlmctl: the broker ") or " the broker " in said[0]
    assert "planted" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["worker", "orchestrator"])
def test_a_broker_that_is_away_is_waited_for_and_told_once(line: CommandLine, command: str) -> None:
    line.environ["WLMCTL_BROKER"] = "amqp://me:planted@127.0.0.1:1/"
    process = line.start(command)
    waits = "waiting for the broker amqp://me@127.0.0.1:1/: connection refused"
    wait_until(lambda: waits in line.said(process), "it says what it waits for", 60)
    process.terminate()
    assert process.wait(60) == 0
    assert line.said(process).count(waits) == 1
    assert "planted" not in line.said(process)


def test_when_the_leader_is_killed_another_orchestrator_goes_on(on_either: CommandLine) -> None:
    line = on_either
    leader = line.start("orchestrator")
    wait_until(lambda: "this process leads now" in line.said(leader), "one leads", 60)
    second = line.start("orchestrator")
    wait_until(lambda: f"process {leader.pid} on host" in line.said(second), "the other waits", 60)
    start_workers(line, "one")
    line.write("slow.yaml", SLOW)
    identifier = submit(line, text="slow.yaml")
    wait_until(lambda: (line.folder / "began").exists(), "it runs", 60)
    leader.kill()
    (line.folder / "go").touch()
    line.run("wait", identifier, "--timeout", "60")
    assert (line.folder / "began").read_text() == "x\n"
    assert workers(line).keys() == {"one"}
    assert line.said(second).count("this process leads now") == 1


def test_when_a_worker_is_killed_another_does_what_it_had(line: CommandLine) -> None:
    line.start("orchestrator")
    (first,) = start_workers(line, "one")
    wait = "while [ ! -e go ]; do sleep 0.1; done"
    line.write("step.yaml", f"name: step\ntasks:\n  a: {{type: environment, commands: [{wait!r}]}}\n")
    identifier = submit(line, text="step.yaml")
    wait_until(lambda: line.tasks(identifier)["a"]["state"] == "running", "the step runs", 60)
    start_workers(line, "two")
    first.kill()
    wait_until(lambda: workers(line, "--all")["one"]["state"] == "dead", "it is known to be dead", 60)
    wait_until(
        lambda: (line.tasks(identifier)["a"]["worker"] or "").partition(".")[2].startswith("two-"), "another has it", 60
    )
    line.run("cancel", identifier, "--wait")
    assert line.run("queue", "purge", "--stale").returncode == 0


@pytest.mark.parametrize("kind", ["command", "file", "env"])
def test_the_brokers_password_is_found_where_the_configuration_says(
    line: CommandLine, vhost: Vhost, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "secret").write_text(vhost.password)
    place = {"command": f"cat {tmp_path}/secret", "file": "secret", "env": "LAB_SECRET"}[kind]
    line.environ["LAB_SECRET"] = vhost.password
    line.environ["WLMCTL_BROKER"] = vhost.url.replace(f":{vhost.password}@", "@")
    line.write("wlmctl.toml", f'broker_password = {{{kind} = "{place}"}}\n')
    process = line.start("worker")
    wait_until(lambda: "slots for" in line.said(process), "it works", 60)
    process.terminate()
    assert process.wait(60) == 0


def test_a_password_that_cannot_be_had_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    line = CommandLine(tmp_path, {"WLMCTL_BROKER": "amqp://me@127.0.0.1:1/"})
    line.write("wlmctl.toml", 'broker_password = {env = "NOT_SET"}\n')
    done = line.run("worker", code=2)
    assert done.stderr == "wlmctl: broker_password: the environment variable NOT_SET is not set\n"


def test_what_runs_when_the_broker_goes_and_comes_back_ends_once(tmp_path: Path) -> None:
    with open_node(tmp_path / "node") as node:
        vhost = node.vhost()
        folder = tmp_path / "work"
        folder.mkdir()
        line = CommandLine(folder, {"WLMCTL_BROKER": vhost.url})
        try:
            line.start("orchestrator")
            (worker,) = start_workers(line, "one")
            line.write("slow.yaml", SLOW)
            identifier = submit(line, text="slow.yaml")
            wait_until(lambda: (folder / "began").exists(), "it runs", 60)
            node.kill()
            (folder / "go").touch()
            wait_until(lambda: "lost the broker" in line.said(worker), "the worker has noticed", 60)
            node.start()
            line.run("wait", identifier, "--timeout", "60")
            assert (folder / "began").read_text() == "x\n"
            assert {task["attempt"] for task in line.tasks(identifier).values()} == {1}
        finally:
            line.close()


SLOW = """
name: slow
tasks:
  first: {type: job, command: "echo x >> began; while [ ! -e go ]; do sleep 0.1; done"}
  second: {type: job, needs: [first], command: "true"}
"""


def test_orchestrator_and_worker_say_with_what_they_work(line: CommandLine, vhost: Vhost) -> None:
    leader = line.start("orchestrator")
    (worker,) = start_workers(line, "one")
    assert "orchestrator with 0 slots on " in line.said(leader)
    assert f", broker amqp://{vhost.user}@127.0.0.1:" in line.said(leader)
    assert f"worker {vhost.user}.one-" in line.said(worker)
    assert "planted" not in line.said(leader) + line.said(worker)


def test_an_orchestrator_with_slots_is_a_worker_too(line: CommandLine) -> None:
    line.start("orchestrator", "--slots", "3")
    wait_until(lambda: workers(line), "its own worker is known", 60)
    assert [each["slots"] for each in workers(line).values()] == [3]
    line.run("wait", submit(line), "--timeout", "60")


def test_without_slots_there_must_be_a_broker(tmp_path: Path) -> None:
    done = CommandLine(tmp_path).run("orchestrator", "--slots", "0", code=2)
    assert "with the broker memory:// nobody else works" in done.stderr


def test_an_unknown_task_type_of_a_worker_is_refused(line: CommandLine) -> None:
    done = line.run("worker", "--type", "jub", code=2)
    assert done.stderr.count("\n") == 1
    assert "did you mean 'job'" in done.stderr


def test_the_messages_of_a_finished_fleet_are_in_no_dead_letter(line: CommandLine) -> None:
    line.start("orchestrator")
    start_workers(line, "one")
    line.run("wait", submit(line), "--timeout", "60")
    assert json.loads(line.run("queue", "dead", "-o", "json").stdout)["dead"] == []
