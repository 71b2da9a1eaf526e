"""What can be seen of a RabbitMQ and of one's own permissions there, over AMQP and without changing anything."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pika.channel import Channel
from pika.exceptions import ChannelClosed

from wlmctl.broker.rabbitmq.broker import RabbitBroker
from wlmctl.broker.rabbitmq.errands import Script


@dataclass(frozen=True, slots=True)
class Survey:
    """``may_write_to_all``: this user may write to the default exchange, and so to every queue of the vhost."""

    product: str
    cluster: str
    may_write_to_all: bool


def survey(broker: RabbitBroker, timeout_s: float = 10.0) -> Survey:
    """Ask a broker that is connected. Raises ``BrokerError``."""
    connection = broker._link.connection
    said: dict[str, Any] = getattr(connection, "server_properties", None) or {}
    may_write = bool(broker._errands.answer(_may_write_to_all, timeout_s))
    return Survey(
        f"{_text(said.get('product'))} {_text(said.get('version'))}", _text(said.get("cluster_name")), may_write
    )


def _may_write_to_all() -> Script:
    """Publish to the default exchange for a queue that is not there: it is dropped, or refused with 403.

    The question behind it, for that same queue, is answered by 404 where the publishing was not refused.
    """
    nowhere = f"wlmctl.survey.{secrets.token_hex(8)}"

    def step(channel: Channel, done: Callable[[Any], None]) -> None:
        channel.basic_publish("", nowhere, b"")
        channel.queue_declare(nowhere, passive=True, callback=done)

    said = yield step
    return isinstance(said, ChannelClosed) and said.reply_code == 404


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
