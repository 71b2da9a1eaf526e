"""What ``doctor`` wants to know of a PostgreSQL server."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wlmctl.store.database import Database


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """How the server keeps what is committed."""

    version: str
    size_bytes: int
    synchronous_commit: str
    synchronous_standby_names: str
    synchronous_standbys: int
    has_fsync: bool
    is_standby: bool
    clock_ahead_s: float


def server_facts(db: Database) -> ServerFacts:
    """Ask the server."""
    row = db.row(
        "SELECT current_setting('server_version'), pg_database_size(current_database()),"
        " current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),"
        " (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),"
        " current_setting('fsync') = 'on', pg_is_in_recovery(),"
        " CAST(extract(epoch FROM clock_timestamp()) AS double precision) - ?",
        (time.time(),),
    )
    return ServerFacts(*row)
