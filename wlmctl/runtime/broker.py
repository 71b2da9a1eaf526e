"""The broker of the configuration: opened for a process, and as whom it logs in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wlmctl.broker.contract import Broker
from wlmctl.config import Config
from wlmctl.errors import ConfigError
from wlmctl.machine import Reference

if TYPE_CHECKING:
    from wlmctl.broker.rabbitmq import RabbitSettings

#: The login at the broker of a process that has the broker within itself.
NOBODY = "local"


def open_broker(config: Config, name: str) -> Broker:
    """The configured broker; ``name`` is what its administrators see of this process.

    RabbitMQ is connected to in the background, and comes back by itself. Raises ``ConfigError`` for a URL, a
    password or a file of ``[tls]`` that cannot be used.
    """
    if not config.is_fleet:
        from wlmctl.broker.memory import MemoryBroker

        return MemoryBroker(config.prefix, message_limit_bytes=config.message_limit_bytes)
    from wlmctl.broker.rabbitmq import RabbitBroker

    return RabbitBroker(rabbit_settings(config, name))


def broker_user(config: Config) -> str:
    """The login at the broker: worker ids begin with it."""
    if not config.is_fleet:
        return NOBODY
    from wlmctl.broker.rabbitmq.settings import parse_url

    return parse_url(config.broker).user


def rabbit_settings(config: Config, name: str) -> RabbitSettings:
    """What RabbitMQ's module wants to know, with the password, wherever it is kept."""
    from wlmctl.broker.rabbitmq import RabbitSettings, Tls

    ca, cert, key = (_readable(name, getattr(config.tls, name)) for name in ("ca", "cert", "key"))
    return RabbitSettings(
        url=config.broker,
        password=_password(config.broker_login),
        prefix=config.prefix,
        queue_type=config.queue_type,
        message_limit_bytes=config.message_limit_bytes,
        tls=Tls(ca, cert, key),
        name=name,
    )


def _readable(name: str, file: str | None) -> Path | None:
    """The file of a key of ``[tls]``; one that cannot be read is told by its name, which OpenSSL does not do."""
    if not file:
        return None
    try:
        Path(file).open("rb").close()
    except OSError as error:
        raise ConfigError(f"[tls] {name}: {file}: {(error.strerror or str(error)).lower()}") from error
    return Path(file)


def _password(login: str | Reference | None) -> str | None:
    if not isinstance(login, Reference):
        return login
    from wlmctl.secret import reveal

    return reveal(login, "broker_password")
