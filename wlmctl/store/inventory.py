"""The leader's machines and counters in the store, where a submit finds what it is to be checked against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from wlmctl.machine import Machine, Reference
from wlmctl.store.database import Database

_FIELDS = frozenset(field.name for field in fields(Machine))


def put(db: Database, machines: Mapping[str, Machine]) -> None:
    """Make these the machines of the store; inside a transaction. Writes only what has changed.

    A secret's place stays a place. Host keys are not part of it: ``wlmctl.store.host_keys`` has them.
    """
    wanted = {name: _text(machine) for name, machine in machines.items()}
    known: dict[str, str] = dict(db.rows("SELECT name, machine FROM inventory"))
    for name in known.keys() - wanted.keys():
        db.execute("DELETE FROM inventory WHERE name = ?", (name,))
    for name, text in wanted.items():
        if known.get(name) != text:
            db.execute(
                "INSERT INTO inventory VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET machine = excluded.machine",
                (name, text),
            )


def get(db: Database) -> dict[str, Machine] | None:
    """The machines by name; None where no leader has written any yet."""
    rows = db.rows("SELECT name, machine FROM inventory ORDER BY name")
    return {name: _machine(text) for name, text in rows} or None


def put_counters(db: Database, counters: Mapping[str, int]) -> None:
    """Make these the counters of the store, by name, with what there is of each; inside a transaction."""
    db.execute(
        "INSERT INTO meta VALUES ('counters', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (json.dumps(dict(counters), sort_keys=True),),
    )


def counters(db: Database) -> dict[str, int]:
    """What the orchestrator has said that there is of each counter."""
    row = db.row("SELECT value FROM meta WHERE key = 'counters'")
    return dict(json.loads(row[0])) if row is not None else {}


def _text(machine: Machine) -> str:
    values = {field.name: _plain(getattr(machine, field.name)) for field in fields(machine)}
    del values["host_keys"]
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)


def _plain(value: Any) -> Any:
    return {"kind": value.kind, "value": value.value} if isinstance(value, Reference) else value


def _machine(text: str) -> Machine:
    """As another version of this program may have written it: what this one does not know is left out."""
    values: dict[str, Any] = {key: value for key, value in json.loads(text).items() if key in _FIELDS}
    for name in ("labels", "logins"):
        values[name] = tuple(values.get(name) or ())
    if values.get("passphrase") is not None:
        values["passphrase"] = Reference(**values["passphrase"])
    return Machine(**values)
