"""What ``wlmctl doctor`` checks of the store, and in it: who leads, what is held, the clock."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

from wlmctl.config import Config
from wlmctl.errors import NoStore, StoreError
from wlmctl.quantities import format_duration, format_size
from wlmctl.runtime.doctor_check import Check
from wlmctl.store import Database, open_configured
from wlmctl.store.opening import is_postgresql
from wlmctl.text import counted

_LITTLE_SPACE_BYTES = 100 * 1024 * 1024
#: A clock that is this much behind what the store has already seen was set back.
_CLOCK_SLACK_S = 5.0


def check_store(config: Config) -> Iterator[Check]:
    """The store itself, and what it says of orchestrators, machines and the time."""
    check = _postgresql if is_postgresql(config.store) else _sqlite
    yield from check(config)
    try:
        with open_configured(config, create=False) as db:
            yield from _orchestrator(db)
            yield from _clock(db)
    except StoreError:  # told above
        yield _time_check(None)


def _postgresql(config: Config) -> Iterator[Check]:
    from wlmctl.store.postgres_facts import server_facts

    try:
        with open_configured(config, create=False) as db:
            facts, version = server_facts(db), db.schema_version()
            count = db.row("SELECT count(*) FROM experiments")[0]
    except NoStore:
        yield Check("store", "ok", f"{config.store} answers; the store will be made at its first use")
        return
    except StoreError as error:
        yield Check("store", "problem", str(error))
        return
    size = format_size(facts.size_bytes)
    text = f"{config.store}, PostgreSQL {facts.version}, {size}, version {version}; {counted(count, 'experiment')}"
    yield Check("store", "ok", text)
    if abs(facts.clock_ahead_s) > _CLOCK_SLACK_S:
        text = f"its server's clock is {facts.clock_ahead_s:+.0f} s from this host's"
        yield Check("clock", "problem", text, "set one of the two (NTP)")
    if facts.is_standby:
        yield Check("store", "problem", "this server is a standby: it takes no writes", "name the primary in the URL")
    if not facts.has_fsync:
        text = "fsync is off at its server: a crash there loses what was committed"
        yield Check("store", "problem", text, "set fsync = on")
    if not facts.synchronous_standby_names:
        text = "no synchronous replication: safe on one server, but a fail-over to a standby may lose the last commits"
        yield Check("store", "note", text, "set synchronous_standby_names where a standby takes over")
    elif not facts.synchronous_standbys:
        text = f"synchronous replication is configured ({facts.synchronous_standby_names}), but no standby is connected"
        yield Check("store", "problem", text, "start the standby: commits wait for it")
    else:
        text = f"synchronous replication to {facts.synchronous_standbys} ({facts.synchronous_standby_names})"
        yield Check("store", "ok", text)


def _sqlite(config: Config) -> Iterator[Check]:
    from wlmctl.store.sqlite import file_system, store_path

    path = store_path(config.store)
    kind = file_system(path) or "an unknown file system"
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            yield Check("store", "problem", f"{path} cannot be made: {above} is not writable", "choose another store")
            return
        yield Check("store", "ok", f"{path} will be made at its first use, on {kind}")
        return
    try:
        with open_configured(config, create=False) as db:
            version, journal = db.schema_version(), db.row("PRAGMA journal_mode")[0]
            count = db.row("SELECT count(*) FROM experiments")[0]
    except StoreError as error:
        yield Check("store", "problem", str(error))
        return
    size = format_size(path.stat().st_size)
    text = f"{path}, SQLite, {size}, version {version}, journal {journal}, on {kind}"
    yield Check("store", "ok", f"{text}; {counted(count, 'experiment')}")
    if journal != "wal":
        yield Check("store", "problem", f"{path}: journal mode {journal}, expected wal", "copy it to a local disk")
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        yield Check("store", "problem", f"{path}: this user may not write it, or not its folder")
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < _LITTLE_SPACE_BYTES:
        yield Check("store", "problem", f"{path.parent}: only {format_size(free_bytes)} are free", "make room")


def _orchestrator(db: Database) -> Iterator[Check]:
    from wlmctl.host import is_gone
    from wlmctl.store.leases import ORCHESTRATOR, look
    from wlmctl.store.machines import holds

    lease = look(db, ORCHESTRATOR)
    waiting = db.row("SELECT count(*) FROM experiments WHERE ended IS NULL AND origin != 'run'")[0]
    if lease is not None and not is_gone(lease.process):
        host = lease.info.get("host_name", lease.process.host)
        yield Check("orchestrator", "ok", f"process {lease.process.pid} on {host} leads")
    else:
        wait = "waits" if waiting == 1 else "wait"
        text = f"none is live; {counted(waiting, 'submitted experiment')} {wait} for one"
        yield Check("orchestrator", "note", text, "wlmctl orchestrator" if waiting else "")
    for hold in holds(db).values():
        since = format_duration(max(time.time() - hold.since_s, 0))
        yield Check("machines", "note", f"{hold.machine} is held for {since}: {hold.text.partition(chr(10))[0]}")


def _clock(db: Database) -> Iterator[Check]:
    times = [*db.row("SELECT max(created), max(started), max(ended) FROM experiments")]
    times += db.row("SELECT max(seen) FROM workers")
    yield _time_check(max((time_s for time_s in times if time_s is not None), default=None))


def _time_check(latest_s: float | None) -> Check:
    now = time.time()
    if latest_s is not None and latest_s - now > _CLOCK_SLACK_S:
        behind = format_duration(latest_s - now)
        return Check("clock", "problem", f"it is {behind} behind the newest time in the store", "set the clock")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))
