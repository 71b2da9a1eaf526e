"""Every key that ``wlmctl.toml`` may have, with the check of its value, and the keys of later work."""

from __future__ import annotations

from collections.abc import Mapping

from wlmctl.config import values
from wlmctl.config.urls import broker_url, store_url
from wlmctl.config.values import Check

#: Keys of the file itself, less its tables ``machines``, ``groups``, ``tls`` and ``counters``.
TOP: Mapping[str, Check] = {
    "store": store_url,
    "broker": broker_url,
    "prefix": values.name,
    "scheduler": values.name,
    "scheduler_options": values.table,
    "record_decisions": values.file,
    "decision_limit": values.duration("100ms", "20s"),
    "store_password": values.reference,
    "broker_password": values.reference,
    "heartbeat": values.duration("100ms", "1m"),
    "lease": values.duration("1s", "1h"),
    "ack_timeout": values.duration("4s", "30d"),
    "permit_grace": values.duration("0s", "1d"),
    "message_limit": values.size_between("64KiB", "512MiB"),
    "queue_type": values.one_of("auto", "classic", "quorum"),
}

#: Keys of ``[tls]``: files for a broker ``amqps://``.
TLS: Mapping[str, Check] = {"ca": values.file, "cert": values.file, "key": values.file}

#: Keys of ``[groups.NAME]``.
GROUP: Mapping[str, Check] = {"machines": values.names}

#: What may be said of each name in ``[counters]``.
COUNTER: Check = values.integer(0)

#: Keys of the file that later work brings: known, and refused as such.
RESERVED_TOP = frozenset(
    {
        "keep",
        "kill_grace",
    }
)

_LOGIN: Mapping[str, Check] = {
    "host": values.word,
    "logins": values.hosts,
    "user": values.word,
    "port": values.integer(1, 65535),
    "jump": values.word,
    "key": values.file,
    "passphrase": values.reference,
}

_PLACE: Mapping[str, Check] = {
    "transport": values.name,
    "batch": values.name,
    "scratch": values.scratch,
    "shell": values.text,
    "preamble": values.text,
    "labels": values.labels,
    "cpus": values.integer(1),
    "memory": values.size,
    "gpus": values.integer(0),
    "max_connections": values.integer(1),
    "commands_per_minute": values.integer(1),
    "max_jobs": values.integer(1),
    "batch_options": values.table,
    "transport_options": values.options,
}

#: Keys of ``[machines.NAME]``, and of ``[machines.local]``, which has no login.
MACHINE: Mapping[str, Check] = {**_LOGIN, **_PLACE, "bandwidth": values.size}
LOCAL_MACHINE: Mapping[str, Check] = {**_PLACE, "scratch": values.local_scratch}
LOGIN = frozenset(_LOGIN)

#: The field of ``Machine`` or ``Config`` that a key becomes, where the two differ.
FIELDS: Mapping[str, str] = {
    "memory": "memory_bytes",
    "bandwidth": "bandwidth_bytes_s",
    "decision_limit": "decision_limit_s",
    "heartbeat": "heartbeat_s",
    "lease": "lease_s",
    "ack_timeout": "ack_timeout_s",
    "permit_grace": "permit_grace_s",
    "message_limit": "message_limit_bytes",
}
