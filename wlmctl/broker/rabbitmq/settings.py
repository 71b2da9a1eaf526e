"""How to reach RabbitMQ: the URL taken apart, and what pika wants to know."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import pika

import wlmctl
from wlmctl.broker.contract import MESSAGE_LIMIT_BYTES, BrokerRefused
from wlmctl.errors import ConfigError

_URL = re.compile(
    r"^amqp(?P<tls>s?)://(?:(?P<login>[^@]*)@)?(?P<hosts>[^/?#]*)(?:/(?P<vhost>[^/?#]*))?$", re.IGNORECASE
)
_HOST = re.compile(r"^(?P<name>\[[0-9a-fA-F:.%]+\]|[^:\[\]\s]+)(?::(?P<port>\d{1,5}))?$")
_EXPECTED = "expected a broker such as amqps://user@host:5671/vhost"

#: Seconds for one step of a connection attempt, and for all of it.
STEP_S, ATTEMPT_S = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for ``amqps``: authorities to trust (default: the system's), and the client's certificate and key."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class RabbitSettings:
    """What a process says about its broker. ``url`` may name several hosts of a cluster, separated by commas.

    ``queue_type`` auto: quorum where the URL names several hosts, since AMQP does not tell whether there is a
    cluster; a queue that is already there is used as it is. ``window``: messages that wait for their confirm.
    ``zombie_s``: after this long without a message a consumer looks whether any wait. ``refusal_grace_s``: a broker
    that has known us may forget users and vhosts this long, since an emptied one gets them after it has started.
    """

    url: str = field(repr=False)
    password: str | None = field(default=None, repr=False)
    prefix: str = "wlm"
    queue_type: Literal["auto", "classic", "quorum"] = "auto"
    heartbeat_s: int = 5
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    tls: Tls = Tls()
    window: int = 1000
    zombie_s: float = 30.0
    refusal_grace_s: float = 30.0
    name: str = "wlmctl"

    def address(self) -> Address:
        """The URL taken apart. Raises ``ConfigError``."""
        return parse_url(self.url, self.password)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, and as whom to log in."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    is_tls: bool

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        vhost = self.vhost if self.vhost != "/" else ""
        return f"amqp{'s' if self.is_tls else ''}://{self.user}@{hosts}/{vhost}"


def parse_url(url: str, password: str | None = None) -> Address:
    """Take an AMQP URL apart; an empty path is the vhost ``/``. Raises ``ConfigError``, which never shows the URL."""
    found = _URL.match(url)
    if found is None:
        raise ConfigError(f"the URL of the broker is not understood, {_EXPECTED}")
    is_tls = bool(found["tls"])
    hosts = []
    for text in found["hosts"].split(","):
        host = _HOST.match(text or "localhost")
        port = int(host["port"] or (5671 if is_tls else 5672)) if host else 0
        if host is None or not 0 < port < 65536:
            raise ConfigError(f"the URL of the broker has no host {text!r}, {_EXPECTED}")
        hosts.append((host["name"].strip("[]"), port))
    user, _, inline = (found["login"] or "guest").partition(":")
    secret = password if password is not None else unquote(inline) or ("guest" if user == "guest" else "")
    return Address(tuple(hosts), unquote(user), secret, unquote(found["vhost"] or "") or "/", is_tls)


def parameters(settings: RabbitSettings, address: Address, attempt: int) -> pika.ConnectionParameters:
    """What pika wants for one attempt; each takes the next host. Raises ``BrokerRefused`` for unusable TLS files."""
    host, port = address.hosts[attempt % len(address.hosts)]
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        heartbeat=settings.heartbeat_s,
        connection_attempts=1,
        socket_timeout=STEP_S,
        stack_timeout=ATTEMPT_S,
        blocked_connection_timeout=None,
        client_properties={
            "connection_name": f"{settings.name}@{socket.gethostname()}",
            "product": "wlmctl",
            "version": wlmctl.__version__,
        },
        ssl_options=pika.SSLOptions(_context(settings.tls), host) if address.is_tls else None,
    )


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert is not None:
            context.load_cert_chain(str(tls.cert), str(tls.key) if tls.key else None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path is not None)
        raise BrokerRefused(f"the TLS files for the broker cannot be used ({files}): {error}") from error
    return context
