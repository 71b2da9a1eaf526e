"""RabbitMQ for tests: a broker that is given, one in Docker, or a private native node.

``open_rabbit(folder)`` takes the first that works of ``WLMCTL_TEST_AMQP_URL`` (and ``WLMCTL_TEST_AMQP_API``, its
management URL), Docker, and a private node. Only the private node (``open_node``) can be killed, stopped and emptied.
"""

from __future__ import annotations

import os
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.docker import docker_works
from tests.services.rabbitmq_api import Rabbit, Vhost
from tests.services.rabbitmq_node import RabbitNode, open_node

__all__ = ["Rabbit", "RabbitNode", "Vhost", "open_node", "open_rabbit", "require"]

IMAGE = "rabbitmq:4-management"


class GivenRabbit(Rabbit):
    """A broker that somebody else runs."""

    def __init__(self, url: str, api_url: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 5672
        self.admin, self.password = parts.username or "guest", parts.password or "guest"
        self.api_url = api_url or f"http://{self.host}:15672"


@contextmanager
def open_rabbit(folder: Path) -> Iterator[Rabbit]:
    """The first broker that works; ``LookupError`` says what is missing where none does."""
    if url := os.environ.get("WLMCTL_TEST_AMQP_URL"):
        yield GivenRabbit(url, os.environ.get("WLMCTL_TEST_AMQP_API", ""))
    elif docker_works():
        with _container() as rabbit:
            yield rabbit
    else:
        with open_node(folder) as node:
            yield node


@contextmanager
def _container() -> Iterator[Rabbit]:
    run = ["docker", "run", "--rm", "--detach", "--publish", "127.0.0.1::5672", "--publish", "127.0.0.1::15672", IMAGE]
    name = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    try:
        ports = []
        for inner in ("5672", "15672"):
            told = subprocess.run(["docker", "port", name, inner], check=True, capture_output=True, text=True).stdout
            ports.append(told.split()[0].rpartition(":")[2])
        rabbit = GivenRabbit(f"amqp://guest:guest@127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
        deadline_s = time.monotonic() + 90
        while True:
            try:
                rabbit.api("GET", "overview")
                break
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)
        yield rabbit
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)


@contextmanager
def require(folder: Path, *, private: bool = False) -> Iterator[Rabbit]:
    """``open_rabbit``, or a private node; where none can be had the test fails in CI and is skipped elsewhere."""
    import pytest  # here, since benchmarks do without

    context = open_node(folder) if private else open_rabbit(folder)
    try:
        rabbit = context.__enter__()
    except LookupError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    try:
        yield rabbit
    finally:
        context.__exit__(None, None, None)
