"""The tables of the store, step by step: a new store takes all steps, an older one those it has not yet.

The text is SQLite's; ``wlmctl.store.dialect`` says the same to PostgreSQL. Write statements that both understand after
that: ``INTEGER``, ``REAL`` (double precision), ``TEXT``, ``BLOB``, ``WITHOUT ROWID``, ``ON CONFLICT``, and quotes
around a column that is called ``"user"``.
"""

from __future__ import annotations

import re

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE experiments (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, project TEXT, "user" TEXT NOT NULL,
  host TEXT NOT NULL, host_name TEXT NOT NULL, folder TEXT NOT NULL, origin TEXT NOT NULL,
  state TEXT NOT NULL, priority INTEGER NOT NULL, labels TEXT NOT NULL, document TEXT NOT NULL,
  submit_key TEXT, content_digest TEXT NOT NULL, task_count INTEGER NOT NULL,
  created REAL NOT NULL, start_due REAL, started REAL, ended REAL, reason TEXT,
  stopping INTEGER NOT NULL DEFAULT 0, cleaned INTEGER NOT NULL DEFAULT 0,
  revision INTEGER NOT NULL DEFAULT 0, events INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX experiments_submit_key ON experiments (submit_key) WHERE submit_key IS NOT NULL;
CREATE INDEX experiments_open ON experiments (state) WHERE ended IS NULL;
CREATE TABLE tasks (
  exp INTEGER NOT NULL, idx INTEGER NOT NULL, template INTEGER NOT NULL, position INTEGER NOT NULL,
  name TEXT NOT NULL, type TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
  attempt INTEGER NOT NULL DEFAULT 0, dispatch INTEGER NOT NULL DEFAULT 0, nonce TEXT,
  published INTEGER NOT NULL DEFAULT 0, worker TEXT, machine TEXT, site TEXT,
  cpus INTEGER, memory_bytes INTEGER, gpus INTEGER, devices TEXT, handle TEXT, outputs TEXT, folder TEXT,
  exit_code INTEGER, failure_class TEXT, reason TEXT,
  user_failures INTEGER NOT NULL DEFAULT 0, infra_failures INTEGER NOT NULL DEFAULT 0,
  due REAL, started REAL, ended REAL, PRIMARY KEY (exp, idx)) WITHOUT ROWID;
CREATE INDEX tasks_under_way ON tasks (site) WHERE site IS NOT NULL;
CREATE TABLE events (
  exp INTEGER NOT NULL, n INTEGER NOT NULL, time REAL NOT NULL, task INTEGER, kind TEXT NOT NULL,
  source TEXT, target TEXT, reason TEXT, data TEXT, PRIMARY KEY (exp, n)) WITHOUT ROWID;
CREATE TABLE bindings (
  exp INTEGER NOT NULL, role TEXT NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (exp, role)) WITHOUT ROWID;
CREATE TABLE files (
  exp INTEGER NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (exp, name)) WITHOUT ROWID;
CREATE TABLE logs (
  exp INTEGER NOT NULL, task INTEGER NOT NULL, attempt INTEGER NOT NULL,
  stdout BLOB NOT NULL, stderr BLOB NOT NULL, PRIMARY KEY (exp, task, attempt));
CREATE TABLE follows (
  exp INTEGER NOT NULL, task INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (exp, task)) WITHOUT ROWID;
CREATE TABLE live_logs (
  exp INTEGER NOT NULL, task INTEGER NOT NULL, attempt INTEGER NOT NULL, stream TEXT NOT NULL,
  start INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY (exp, task, attempt, stream, start));
CREATE TABLE leases (
  name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, beats INTEGER NOT NULL,
  host TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL, start_time TEXT NOT NULL,
  info TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;
CREATE TABLE permits (
  token TEXT PRIMARY KEY, login TEXT NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL,
  pid INTEGER NOT NULL, start_time TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX permits_login ON permits (login);
CREATE TABLE commands (login TEXT NOT NULL, time REAL NOT NULL);
CREATE INDEX commands_login ON commands (login, time);
CREATE TABLE holds (
  machine TEXT PRIMARY KEY, reason TEXT NOT NULL, since REAL NOT NULL, probe_due REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE folders (
  exp INTEGER NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (exp, machine)) WITHOUT ROWID;
"""

# Tables that came after the first store. A step that has been released is never changed: the next change is a new step.
_SECOND = """
CREATE TABLE series (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL, host TEXT NOT NULL, host_name TEXT NOT NULL,
  folder TEXT NOT NULL, state TEXT NOT NULL, labels TEXT NOT NULL, document TEXT NOT NULL,
  submit_key TEXT, content_digest TEXT NOT NULL,
  cron TEXT NOT NULL, timezone TEXT NOT NULL, catchup INTEGER NOT NULL, overlap TEXT NOT NULL,
  created REAL NOT NULL, next_due REAL, made INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
  ended REAL, note TEXT) WITHOUT ROWID;
CREATE UNIQUE INDEX series_submit_key ON series (submit_key) WHERE submit_key IS NOT NULL;
CREATE TABLE series_files (
  series TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (series, name)) WITHOUT ROWID;
CREATE TABLE series_dues (
  series TEXT NOT NULL, due REAL NOT NULL, number INTEGER, exp INTEGER, PRIMARY KEY (series, due)) WITHOUT ROWID;
CREATE INDEX series_dues_exp ON series_dues (exp);
"""

# The fleet: workers that may be anywhere, the orchestrator's inventory for those who submit, and who killed whom.
_THIRD = """
CREATE TABLE workers (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, info TEXT NOT NULL, since REAL NOT NULL,
  seen REAL NOT NULL, ended REAL, reason TEXT, under_way INTEGER NOT NULL DEFAULT 0,
  drain INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE inventory (name TEXT PRIMARY KEY, machine TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE host_keys (machine TEXT NOT NULL, line TEXT NOT NULL, PRIMARY KEY (machine, line)) WITHOUT ROWID;
ALTER TABLE tasks ADD COLUMN sent INTEGER;
ALTER TABLE tasks ADD COLUMN kills INTEGER NOT NULL DEFAULT 0;
ALTER TABLE permits ADD COLUMN worker TEXT;
ALTER TABLE experiments ADD COLUMN local_on TEXT;
ALTER TABLE series ADD COLUMN local_on TEXT;
"""

# What tasks under way take of the counters that all machines share, and what users and projects have used.
_FOURTH = """
ALTER TABLE tasks ADD COLUMN counters TEXT;
CREATE INDEX tasks_counters ON tasks (exp) WHERE counters IS NOT NULL;
CREATE TABLE used (
  bucket INTEGER NOT NULL, owner TEXT NOT NULL, project TEXT NOT NULL, cpu_s REAL NOT NULL,
  PRIMARY KEY (bucket, owner, project)) WITHOUT ROWID;
"""

# How far steps under way are, as their workers last said.
_FIFTH = """
CREATE TABLE progress (
  exp INTEGER NOT NULL, task INTEGER NOT NULL, attempt INTEGER NOT NULL, what TEXT NOT NULL,
  bytes_done INTEGER NOT NULL, bytes_total INTEGER NOT NULL, files_done INTEGER NOT NULL, files_total INTEGER NOT NULL,
  sent_bytes INTEGER NOT NULL, resumed_bytes INTEGER NOT NULL, skipped INTEGER NOT NULL,
  rate_bytes_s REAL NOT NULL, time REAL NOT NULL, PRIMARY KEY (exp, task)) WITHOUT ROWID;
"""

# Machines that users hold, beside those that do not answer (``holds``): each ends by itself.
_SIXTH = """
CREATE TABLE user_holds (
  machine TEXT PRIMARY KEY, reason TEXT NOT NULL, since REAL NOT NULL, owner TEXT NOT NULL, until REAL) WITHOUT ROWID;
"""

# What the next attempt asks for, where a retry has changed it.
_SEVENTH = """
ALTER TABLE tasks ADD COLUMN asked TEXT;
"""

# What is to be announced before it begins, and the channels that the broker has closed.
_EIGHTH = """
ALTER TABLE tasks ADD COLUMN careful INTEGER NOT NULL DEFAULT 0;
CREATE TABLE closures (
  process TEXT NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL, seen REAL NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (process, reason)) WITHOUT ROWID;
"""

# How long steps under way still take.
_NINTH = """
ALTER TABLE progress ADD COLUMN left_s REAL;
"""

#: The steps, in order. A store's version is the number of steps it has taken; one that has taken more is refused.
STEPS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH, _SEVENTH, _EIGHTH, _NINTH)

SCHEMA_VERSION = len(STEPS)


def statements(step: str) -> list[str]:
    """The single statements of a step."""
    return [statement.strip() for statement in step.split(";") if statement.strip()]


def tables() -> list[str]:
    """The names of all tables, in the order in which they were added."""
    return [name for step in STEPS for name in re.findall(r"CREATE TABLE (\w+)", step)]
