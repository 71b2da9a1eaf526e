"""RabbitMQ behind the contract of a broker: the only package that imports pika."""

from __future__ import annotations

import logging

from wlmctl.broker.rabbitmq.broker import RabbitBroker, RabbitChannel
from wlmctl.broker.rabbitmq.settings import RabbitSettings, Tls

__all__ = ["RabbitBroker", "RabbitChannel", "RabbitSettings", "Tls"]

# pika tells each failed attempt several times over, with tracebacks, and what still arrives for a closed channel as
# critical; this package says it once, in a line.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)
