"""What `explain` says of tasks of played experiments."""

from __future__ import annotations

from typing import Any

from tests.orchestra import Orchestra
from wlmctl.cli.explain import as_json
from wlmctl.runtime.explaining import explain
from wlmctl.runtime.explaining.scene import Scene
from wlmctl.runtime.lookup import tasks_named
from wlmctl.store import leases


def told(play: Orchestra, seq: int, task: str) -> dict[str, Any]:
    """The explanation as ``-o json`` shows it, at the play's time."""
    [row] = tasks_named(play.others, play.row(seq), task)
    scene = Scene(play.others, play.machines, play.row(seq), row, play.clock.time(), play.counters)
    document = as_json(explain(scene))
    assert set(document) == {"experiment", "task", "state", "why", "facts", "expected_start"}
    assert document["state"] == row.state
    return document


def why(play: Orchestra, seq: int, task: str) -> str:
    """The code of the cause."""
    return str(told(play, seq, task)["why"]["code"])


def text(play: Orchestra, seq: int, task: str) -> str:
    """The sentence of the cause."""
    return str(told(play, seq, task)["why"]["text"])


def fact(document: dict[str, Any], code: str) -> dict[str, Any]:
    """The first fact with that code."""
    found = [each for each in document["facts"] if each["code"] == code]
    assert found, f"no fact {code}: {[each['code'] for each in document['facts']]}"
    return dict(found[0])


def nobody_leads(play: Orchestra) -> None:
    """The process that leads has ended."""
    with play.others.transaction():
        play.others.execute("UPDATE leases SET owner = '' WHERE name = ?", (leases.ORCHESTRATOR,))


def leads_with(play: Orchestra, info: str) -> None:
    """What the leader says of itself, as JSON."""
    with play.others.transaction():
        play.others.execute("UPDATE leases SET info = ? WHERE name = ?", (info, leases.ORCHESTRATOR))
