"""Making the tables of a store in PostgreSQL, and bringing older ones up to date."""

from __future__ import annotations

import os

from wlmctl.errors import NoStore, StoreError
from wlmctl.store.database import Database
from wlmctl.store.dialect import schema_for_postgresql
from wlmctl.store.postgres_doubt import ADDED, FIRST, MARKED, TABLE
from wlmctl.store.schema import SCHEMA_VERSION, STEPS, statements


def version(db: Database) -> int:
    """How many steps of the schema the store has taken."""
    if db.row("SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'meta'") is None:
        return 0  # to_regclass would answer from a cache that is older than the lock
    row = db.row("SELECT value FROM meta WHERE key = 'schema_version'")
    return int(row[0]) if row else 0


def prepare(db: Database, *, create: bool) -> int:
    """The store's version; ``create`` makes one that is not there yet, else that is ``NoStore``."""
    found = version(db)
    if found or not create:
        if not found:
            raise NoStore(f"store {db.name}: there is no wlmctl store in this database yet")
        return found
    with db.transaction():
        found = version(db)
        if found:
            return found
        if db.row("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()") is not None:
            raise StoreError(f"store {db.name}: this is a database of another program")
        take_steps(db, 0)
        db.execute(TABLE)
        db.execute(FIRST)
        db.execute("INSERT INTO meta VALUES ('store_id', ?)", (os.urandom(16).hex(),))
    return SCHEMA_VERSION


def take_steps(db: Database, taken: int) -> None:
    """Take the steps after the first ``taken`` and note that; inside a transaction."""
    for step in STEPS[taken:]:
        for statement in statements(step):
            db.execute(schema_for_postgresql(statement))
    if 0 < taken < MARKED:
        db.execute(ADDED)
    db.execute(
        "INSERT INTO meta VALUES ('schema_version', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (str(SCHEMA_VERSION),),
    )
