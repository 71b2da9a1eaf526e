"""What ``wlmctl doctor`` checks of the broker, and of the workers that the store knows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import wlmctl
from wlmctl.config import Config
from wlmctl.errors import ConfigError, NoStore, StoreError
from wlmctl.quantities import format_duration, format_size
from wlmctl.runtime.doctor_check import Check
from wlmctl.store import closures, open_configured, workers
from wlmctl.text import counted, shown

#: Reads the real ack time-out, which AMQP does not tell.
ACK_COMMAND = "rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'"

#: Seconds for which a closed channel is a problem; later on it is told, since it may have been mended.
LATELY_S = 86_400.0

_HERE = ("localhost", "127.0.0.1", "::1")


def check_broker(config: Config) -> Iterator[Check]:
    """The broker itself, what this user may do there, and the settings that must fit it."""
    if not config.is_fleet:
        yield Check("broker", "ok", "memory://, inside the process: run and orchestrator need no other")
        return
    from wlmctl.broker.contract import BrokerError
    from wlmctl.broker.rabbitmq import RabbitBroker
    from wlmctl.broker.rabbitmq.settings import parse_url
    from wlmctl.broker.rabbitmq.survey import survey
    from wlmctl.runtime.queues import connected

    address = parse_url(config.broker)
    try:
        with connected(config) as broker:
            assert isinstance(broker, RabbitBroker)
            found = survey(broker)
    except (BrokerError, ConfigError) as error:
        yield Check("broker", "problem", str(error))
    else:
        yield Check("broker", "ok", f"{address}, {found.product}, {found.cluster}")
        if found.may_write_to_all:
            text = (
                f"user {address.user!r} may write to the default exchange, and so to every queue (a message for a queue"
                " that does not exist was not refused)"
            )
            yield Check("broker", "note", text, "give it the permissions of deploy/rabbitmq/permissions.sh")
    if not address.is_tls and not all(host in _HERE for host, _ in address.hosts):
        text = "amqp:// without TLS: password and messages can be read on the way"
        yield Check("broker", "note", text, "use amqps:// and [tls], or a network of your own")
    yield from _settings(config, len(address.hosts))


def _settings(config: Config, hosts: int) -> Iterator[Check]:
    kind = config.queue_type
    if kind == "auto":
        kind = "quorum" if hosts > 1 else "classic"
        how = f"queue_type auto: {kind}, since the URL names {counted(hosts, 'host')}"
    else:
        how = f"queue_type {kind}"
    yield Check("broker", "ok", f"{how}, for queues that are not there yet (rabbitmqctl list_queues name type)")
    if kind == "classic" and hosts > 1:
        text = "classic queues in a cluster: each is away while its node is"
        yield Check("broker", "note", text, 'set queue_type = "quorum"')
    text = (
        f"ack_timeout {format_duration(config.ack_timeout_s)}, message_limit {format_size(config.message_limit_bytes)}"
    )
    yield Check("broker", "ok", f"{text}; the broker's own, in ms, is read by: {ACK_COMMAND}")


def check_closures(config: Config) -> Iterator[Check]:
    """Channels that the broker has closed with 406, as workers and leaders have told: of the last day, a problem."""
    try:
        with open_configured(config, create=False) as db:
            found = closures.seen(db)
    except StoreError:  # there is none yet, or it is told with the store
        return
    now_s = time.time()
    for closure in found:
        ago_s = max(0.0, now_s - closure.seen_s)
        text = (
            f"{shown(closure.process)}: a channel was closed with 406, {counted(closure.times, 'time')}, the last one"
            f" {format_duration(ago_s)} ago: {shown(closure.reason)}"
        )
        is_late = "timed out" in closure.reason
        advice = f"set ack_timeout to what the broker has, or less: {ACK_COMMAND}" if is_late else ""
        yield Check("broker", "problem" if ago_s < LATELY_S else "note", text, advice)


def check_workers(config: Config) -> Iterator[Check]:
    """The workers that are alive, and those of another version."""
    try:
        with open_configured(config, create=False) as db:
            live = workers.live(db)
    except NoStore:
        live = []
    except StoreError:  # told with the store
        return
    if not live and not config.is_fleet:
        return
    slots = sum(row.details["slots"] for row in live)
    if live:
        hosts = sorted({row.details["host_name"] for row in live})
        yield Check("workers", "ok", f"{len(live)} live with {counted(slots, 'slot')} on {', '.join(hosts)}")
    else:
        yield Check("workers", "note", "none is live: nothing is executed", "wlmctl worker")
    for version in sorted({row.details["version"] for row in live} - {wlmctl.__version__}):
        names = ", ".join(row.name for row in live if row.details["version"] == version)
        text = f"version {version} runs in {names}; this is {wlmctl.__version__}"
        yield Check("workers", "note", text, "upgrade one of the two: a worker gets only what it reads")
