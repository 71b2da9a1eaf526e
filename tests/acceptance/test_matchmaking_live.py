"""Match-making in a fleet of unlike workers: everything is done, where it may be done, what is urgent first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import CommandLine
from tests.services.rabbitmq import Vhost
from tests.services.sshd import Farm
from tests.waiting import wait_until
from wlmctl.testing import noop

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

#: By name: the labels of a worker, its task types (none: all), the machines that it reaches.
WORKERS: dict[str, tuple[str, str, str]] = {
    "plain": ("", "noop", "local"),
    "a-near": ("a", "noop job", "local"),
    "b-near": ("b", "noop job", "local"),
    "ab-near": ("a b", "", "*"),
    "a-alpha": ("a", "", "local alpha"),
    "b-alpha": ("b", "", "local alpha"),
    "ab-alpha": ("a b", "noop job", "local alpha"),
    "a-beta": ("a", "", "local beta"),
    "b-beta": ("b", "noop job", "local beta"),
    "ab-beta": ("a b", "", "local beta"),
    "steps": ("", "noop environment", "*"),
    "all": ("a b c", "", "*"),
}

#: In each of three experiments: how many of which labels, beside the jobs of one machine.
STEPS = {"any": (300, ""), "a": (250, "a"), "b": (250, "b"), "ab": (150, "a b")}
JOBS = 50


def experiment(name: str, priority: str, machine: str) -> str:
    lines = [f"name: {name}", f"priority: {priority}", "tasks:"]
    for kind, (count, labels) in STEPS.items():
        wanted = f", worker: {{labels: [{', '.join(labels.split())}]}}" if labels else ""
        lines.append(f"  {kind}: {{type: noop, takes: 50ms, foreach: {{n: 1..{count}}}{wanted}}}")
    lines.append(f"  job: {{type: job, machine: {machine}, foreach: {{n: 1..{JOBS}}}, command: 'true'}}")
    return "\n".join([*lines, ""])


@pytest.fixture
def line(tmp_path: Path, vhost: Vhost, farm: Farm) -> Iterator[CommandLine]:
    extra = {name: f'scratch = "{farm[name].home}/live"\ncpus = 4' for name in farm.machines}
    inventory = farm.write_inventory(tmp_path, extra=extra)
    settings = inventory.config.read_text().partition("\n")[2]
    local = f'[machines.local]\nscratch = "{tmp_path}/scratch"\ncpus = 4\n'
    inventory.config.write_text(f'scheduler = "matchmaking"\n{settings}\n{local}')
    environ = {"WLMCTL_BROKER": vhost.url, **inventory.env, **noop.install(tmp_path / "plugin")}
    line = CommandLine(tmp_path, environ)
    yield line
    line.close()


def start(line: CommandLine, name: str) -> Any:
    labels, types, machines = WORKERS[name]
    words = [("--label", labels), ("--type", types), ("--machine", machines)]
    options = [each for option, values in words for value in values.split() for each in (option, value)]
    return line.start("worker", "--name", name, "--slots", "2", *options)


def name_of(worker: str) -> str:
    return worker.partition(".")[2].rpartition("-")[0]


def done(line: CommandLine, identifier: str) -> int:
    return sum(task["state"] == "succeeded" for task in line.tasks(identifier).values())


def test_unlike_workers_do_all_of_it_where_it_may_be_done_and_what_is_urgent_first(
    line: CommandLine, farm: Farm
) -> None:
    line.start("orchestrator")
    members = {name: start(line, name) for name in WORKERS}
    wait_until(lambda: len(line.json("worker", "list")["workers"]) == len(WORKERS), "the workers are known", 60)
    machines = {"low": "alpha", "normal": "beta", "urgent": "local"}
    ids = {}
    for name in ("low", "normal"):
        path = line.write(f"{name}.yaml", experiment(name, name, machines[name]))
        ids[name] = line.run("submit", path).stdout.strip()
    wait_until(lambda: done(line, ids["normal"]) > 20, "the fleet is at work", 60)
    members["all"].kill()
    farm["alpha"].pause()
    text = experiment("urgent", "urgent", machines["urgent"])
    ids["urgent"] = line.run("submit", line.write("urgent.yaml", text)).stdout.strip()
    line.run("wait", ids["urgent"], "--timeout", "120")
    farm["alpha"].resume()
    line.run("wait", *ids.values(), "--timeout", "200")

    begun: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for name, identifier in ids.items():
        for task, found in line.tasks(identifier).items():
            assert found["state"] == "succeeded", f"{name}: {task} {found}"
            labels, types, reached = WORKERS[name_of(found["worker"])]
            kind = task.partition("[")[0]
            machine = machines[name] if kind == "job" else "local"
            assert ("job" if kind == "job" else "noop") in (types or "noop job").split(), (task, found)
            assert set(STEPS.get(kind, (0, ""))[1].split()) <= set(labels.split()), (task, found)
            assert machine in reached.split() or reached == "*", (task, found)
            begun[name, kind].append(datetime.fromisoformat(found["started"]))
    for kind, (count, _) in STEPS.items():
        first, last = min(begun["urgent", kind]), max(begun["urgent", kind])
        overtaking = sum(first < start < last for name in ("low", "normal") for start in begun[name, kind])
        assert overtaking <= count / 4, f"{kind}: what was on its way goes before what is urgent, and no more"
