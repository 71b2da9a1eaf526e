"""A RabbitMQ cluster of three private nodes on one host; it forms in about half a minute."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.services.ports import free_port
from tests.services.rabbitmq_api import Rabbit, Vhost
from tests.services.rabbitmq_node import RabbitNode, is_available
from tests.waiting import wait_until

SIZE = 3
COMPLETE = "Server startup complete"


class RabbitCluster(Rabbit):
    """Three nodes. Its administrator asks one that runs; its users' URLs name them all."""

    def __init__(self, folder: Path) -> None:
        token, epmd_port, cookie = uuid.uuid4().hex[:8], free_port(self.host), secrets.token_hex(16)
        names = [f"c{number}{token}@localhost" for number in range(1, SIZE + 1)]
        self.nodes = [
            RabbitNode(folder / name.split("@")[0], _formation(names), name=name, epmd_port=epmd_port) for name in names
        ]
        for node in self.nodes:
            file = node.folder / ".erlang.cookie"
            file.write_text(cookie)
            file.chmod(0o400)

    @property
    def running(self) -> list[RabbitNode]:
        """The nodes that were not stopped or killed."""
        return [node for node in self.nodes if node.is_running]

    def start(self) -> None:
        """Start all nodes that do not run and wait until they are one cluster."""
        awaited = [(node, len(node.log_text)) for node in self.nodes if not node.is_running]
        for node, _ in awaited:
            node.launch()
        for node, _ in awaited:
            node.wait(100)
        # a vhost that is made while one still starts is never whole
        wait_until(lambda: all(COMPLETE in node.log_text[before:] for node, before in awaited), "all have started", 60)
        wait_until(self._is_whole, "the three are one cluster", 60)

    def _is_whole(self) -> bool:
        return sum(bool(node["running"]) for node in self.api("GET", "nodes")) == SIZE

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the management API of a node that runs."""
        return self.running[0].api(method, path, body)

    def user(self, vhost: str, name: str, permissions: Sequence[str] = (".*", ".*", ".*")) -> Vhost:
        """A user whose URL names all nodes."""
        made = super().user(vhost, name, permissions)
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        return replace(made, url=f"amqp://{name}:{made.password}@{hosts}/{vhost}")

    def leader_of(self, vhost: str, queue: str) -> RabbitNode:
        """The node on which the leader of a quorum queue is now."""
        found = wait_until(lambda: (self.queue(vhost, queue) or {}).get("leader"), f"{queue} has a leader", 30)
        return next(node for node in self.nodes if node.name == found)

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.close()


def _formation(names: Sequence[str]) -> list[str]:
    listed = [f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(names, 1)]
    return [
        "cluster_formation.peer_discovery_backend = classic_config",
        *listed,
        "cluster_partition_handling = pause_minority",
    ]


@contextmanager
def open_cluster(folder: Path) -> Iterator[RabbitCluster]:
    """A cluster; ended at the end of the ``with``. ``LookupError`` where it cannot be started."""
    if not is_available():
        raise LookupError("these tests need a native rabbitmq-server (Debian: rabbitmq-server)")
    cluster = RabbitCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
