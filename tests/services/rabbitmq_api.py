"""Any RabbitMQ with a management API, as its administrator sees it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

ADMIN, PASSWORD = "admin", "planted-admin-secret"


@dataclass(frozen=True)
class Vhost:
    """A vhost of its own, and a user who may do everything in it."""

    name: str
    user: str
    password: str
    url: str


class Rabbit:
    """Any RabbitMQ with a management API, as an administrator sees it."""

    host, port = "127.0.0.1", 0
    api_url, admin, password = "", ADMIN, PASSWORD

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the management API; raises ``urllib.error.HTTPError``."""
        login = base64.b64encode(f"{self.admin}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"{self.api_url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def vhost(self, name: str = "") -> Vhost:
        """A new vhost with a user of its own (0.1 s)."""
        name = name or f"t{uuid.uuid4().hex[:12]}"
        self.api("PUT", f"vhosts/{name}", {})
        return self.user(name, name)

    def user(self, vhost: str, name: str, permissions: Sequence[str] = (".*", ".*", ".*")) -> Vhost:
        """A user with a password, who may configure, write and read in the vhost what these patterns match."""
        password = f"planted-{name}"
        self.api("PUT", f"users/{name}", {"password": password, "tags": ""})
        configure, write, read = permissions
        allowed = {"configure": configure, "write": write, "read": read}
        self.api("PUT", f"permissions/{vhost}/{name}", allowed)
        return Vhost(vhost, name, password, f"amqp://{name}:{password}@{self.host}:{self.port}/{vhost}")

    def remove_vhost(self, name: str) -> None:
        """Delete the vhost and all in it."""
        self.api("DELETE", f"vhosts/{name}")

    def queue(self, vhost: str, queue: str) -> dict[str, Any] | None:
        """What the API says of a queue; None where there is none."""
        try:
            found: dict[str, Any] = self.api("GET", f"queues/{vhost}/{urllib.parse.quote(queue, safe='')}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found

    def close_connections(self, vhost: str) -> int:
        """Have the broker close all connections to the vhost; how many it knew."""
        names = [found["name"] for found in self.api("GET", f"vhosts/{vhost}/connections")]
        for name in names:
            with suppress(urllib.error.HTTPError):
                self.api("DELETE", f"connections/{urllib.parse.quote(name, safe='')}")
        return len(names)
