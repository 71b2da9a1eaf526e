"""`explain` says the same of the same store, whichever kind it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.explained import leads_with
from tests.play import FAILED, Clock, away, inventory, machine, play_types
from tests.played_fleet import PlayedFleet
from tests.services.postgres import Server
from wlmctl.cli.explain import as_json
from wlmctl.runtime.explaining import explain
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.store import Database, experiments, open_database
from wlmctl.store.copying import copy_store

FILES = (
    "tasks: {a: {type: step, machine: m, foreach: {n: 1..30}}, b: {type: step, needs: [a]}}",
    "max_running: 1\ntasks: {a: {type: play, machine: one}, b: {type: play, machine: one}}",
    "tasks: {a: {type: step, machine: far}, b: {type: step, machine: far, retry: {limit: 1, delay: 60s}}}",
    "tasks: {a: {type: play, machine: one, resources: {cpus: 3, counters: {matlab: 1}}}}",
    "machines: {r: {requires: {labels: [none]}}}\ntasks: {a: {type: step, machine: r}}",
    "tasks: {a: {type: step, worker: {labels: [none]}}, b: {type: step, needs: [a]}}",
)


def all_explained(db: Database, play: PlayedFleet) -> list[dict[str, object]]:
    scenes = (
        Scene(db, play.machines, row, task, play.clock.time(), play.counters)
        for row in experiments.select(db)
        for task in experiments.tasks(db, row.seq)
    )
    return [as_json(explain(scene)) for scene in scenes]


def test_postgresql_tells_what_sqlite_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Server) -> None:
    clock = Clock()
    play_types(monkeypatch, clock)
    monkeypatch.setattr("wlmctl.ssh.login.resolved_login", lambda machine: f"me@{machine.host}:22")
    machines = inventory(machine("m"), machine("far"), machine("one", max_jobs=1))
    play = PlayedFleet(tmp_path, machines, clock=clock, counters={"matlab": 1})
    leads_with(play, '{"is_fleet": true}')
    worker = play.worker("w")
    for text in FILES:
        play.submit(text)
    play.step(2)
    for name in [name for name in worker.names() if name.startswith("a[")][:3]:
        worker.begin(name)
        play.step(2)
    worker.end("a[1]")
    worker.end("a[2]", FAILED)
    for name, outcome in (("a", away("far")), ("b", FAILED)):
        if name in worker.names():
            worker.end(name, outcome)
    play.step(2)
    told = all_explained(play.others, play)
    assert len({document["why"]["code"] for document in told}) >= 6  # type: ignore[index]
    with open_database(postgres.new_database()) as other:
        copy_store(play.others, other, lambda _: None)
        assert all_explained(other, play) == told
    play.close()
