"""The services of many rounds: RabbitMQ, PostgreSQL, machines with an sshd."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import postgres, rabbitmq_node, sshd
from tests.services.postgres import LAB, NativeServer, native_server
from tests.services.rabbitmq_api import Vhost
from tests.services.rabbitmq_node import RabbitNode, open_node
from tests.services.sshd import Farm, open_farm

#: The broker closes the channel of who acks later than this, so that long steps must be leased.
ACK_TIMEOUT_S = 12

_SETTINGS = (f"consumer_timeout = {ACK_TIMEOUT_S * 1000}", "collect_statistics_interval = 1000")


@dataclass
class Site:
    """What is not there here is None, and stays out of the rounds."""

    folder: Path
    farm: Farm
    rabbit: RabbitNode | None
    postgres: NativeServer | None

    def new_vhost(self, name: str) -> Vhost:
        """A vhost and its user."""
        assert self.rabbit is not None
        return self.rabbit.vhost(name)

    def queues(self, vhost: str) -> dict[str, dict[str, Any]]:
        """What the management API says of each queue of the vhost, by name."""
        assert self.rabbit is not None
        return {each["name"]: each for each in self.rabbit.api("GET", f"queues/{vhost}")}

    def new_database(self) -> str:
        """A database of the role that logs in over TCP; its URL, whose host and port may be replaced by a relay's."""
        assert self.postgres is not None
        url = self.postgres.new_database()
        name = url.partition("?")[0].rpartition("/")[2]
        self.postgres.execute(f"ALTER DATABASE {name} OWNER TO {LAB}")
        return self.postgres.lab_url(url)


@contextmanager
def open_site(folder: Path | None = None, *, broker: bool = True) -> Iterator[Site]:
    """All services, ended at the end of the ``with``; ``LookupError`` where one that is needed cannot be started."""
    if not sshd.is_available():
        raise LookupError(f"chaos needs {sshd.SSHD} (Debian: openssh-server)")
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wlm-chaos-", dir=folder)))
        farm = stack.enter_context(open_farm(base / "farm"))
        rabbit = stack.enter_context(open_node(base / "rabbitmq", _SETTINGS)) if broker else None
        server = stack.enter_context(native_server()) if postgres.binaries() else None
        yield Site(base, farm, rabbit, server)


def is_available() -> bool:
    """True where all that a fleet needs can be started."""
    with suppress(LookupError):
        return sshd.is_available() and rabbitmq_node.is_available()
    return False
