"""Host keys that the deployment trusts, for every worker: lines as known_hosts has them, by machine."""

from __future__ import annotations

from collections.abc import Sequence

from wlmctl.store.database import Database, Question

#: What ``get`` asks.
ALL: Question = "SELECT machine, line FROM host_keys ORDER BY machine, line", ()


def put(db: Database, machine: str, lines: Sequence[str]) -> None:
    """Trust these keys (``NAME TYPE BASE64``) on the way to the machine; inside a transaction.

    They take the place of those that were there for the same names.
    """
    names = {line.split(maxsplit=1)[0] for line in lines}
    for (old,) in db.rows("SELECT line FROM host_keys WHERE machine = ?", (machine,)):
        if old.split(maxsplit=1)[0] in names:
            db.execute("DELETE FROM host_keys WHERE machine = ? AND line = ?", (machine, old))
    for line in dict.fromkeys(lines):
        db.execute("INSERT INTO host_keys VALUES (?, ?)", (machine, line))


def get(db: Database) -> dict[str, tuple[str, ...]]:
    """The lines of each machine that has any: what ``Machine.host_keys`` is to be in a task context."""
    found: dict[str, tuple[str, ...]] = {}
    for machine, line in db.rows(*ALL):
        found[machine] = (*found.get(machine, ()), line)
    return found
