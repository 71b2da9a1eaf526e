"""RabbitMQ for tests: a private native node on loopback ports, with the management API and a TLS listener.

``open_rabbit(folder)`` takes the first that works of ``WLMCTL_TEST_AMQP_URL`` (and ``WLMCTL_TEST_AMQP_API``, its
management URL), Docker, and a private node. Only the private node (``RabbitNode``) can be killed, stopped and emptied.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.certificates import Authority
from tests.services.docker import docker_works
from tests.services.sshd import free_port

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
TOKEN = "WLM_TEST_RABBITMQ"
ADMIN, PASSWORD = "admin", "planted-admin-secret"
IMAGE = "rabbitmq:4-management"


def is_available() -> bool:
    """True where a private node can be started."""
    return os.access(PROGRAMS / "rabbitmq-server", os.X_OK)


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


class GivenRabbit(Rabbit):
    """A broker that somebody else runs."""

    def __init__(self, url: str, api_url: str = "") -> None:
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 5672
        self.admin, self.password = parts.username or "guest", parts.password or "guest"
        self.api_url = api_url or f"http://{self.host}:15672"


class RabbitNode(Rabbit):
    """A private node, as any user. ``settings``: further lines of rabbitmq.conf."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.token = uuid.uuid4().hex
        self.port, self.tls_port, self.api_port = (free_port(self.host) for _ in range(3))
        self.api_url = f"http://{self.host}:{self.api_port}"
        self.authority = Authority(folder / "tls")
        self.client = self.authority.issue("client")
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._env = self._environment()
        self._configure()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            TOKEN: self.token,
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(free_port(self.host)),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_NODENAME": f"t{self.token[:8]}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port(self.host)),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _configure(self) -> None:
        certificate, key = self.authority.issue("localhost")
        tls = {"cacertfile": self.authority.certificate, "certfile": certificate, "keyfile": key}
        lines = [
            f"listeners.tcp.local = {self.host}:{self.port}",
            f"listeners.ssl.local = {self.host}:{self.tls_port}",
            *(f"ssl_options.{name} = {path}" for name, path in tls.items()),
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            f"management.tcp.ip = {self.host}",
            f"management.tcp.port = {self.api_port}",
            f"default_user = {ADMIN}",
            f"default_pass = {PASSWORD}",
            "default_user_tags.administrator = true",
            "disk_free_limit.absolute = 1MB",
            *self._settings,
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        # how often a channel looks whether an ack is overdue: every minute, where nothing else is said
        (self.folder / "advanced.config").write_text("[{rabbit, [{channel_tick_interval, 1000}]}].\n")
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq-env.conf").touch()

    @property
    def log_text(self) -> str:
        """What the node has written."""
        return "".join(path.read_text(errors="replace") for path in sorted((self.folder / "log").glob("*.log")))

    def launch(self) -> None:
        """Start the node, and do not wait for it."""
        assert self._process is None
        with open(self.folder / "stdout", "ab") as out:
            self._process = subprocess.Popen(
                [str(PROGRAMS / "rabbitmq-server")],
                env=self._env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def start(self) -> None:
        """Start the node and wait until AMQP and the API answer (about 10 s)."""
        self.launch()
        self.wait()

    def wait(self, timeout_s: float = 90) -> None:
        """Wait until AMQP and the API answer."""
        deadline_s = time.monotonic() + timeout_s
        while not (self._answers() and self._api_answers()):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = (self.folder / "stdout").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"rabbitmq-server does not start:\n{said}\n{self.log_text[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def _api_answers(self) -> bool:
        try:
            self.api("GET", "overview")
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End the node in order (about a second)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        for pid in self._pids("beam.smp"):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        self._process.wait(60)
        self._process = None

    def wipe(self) -> None:
        """Throw away all data of the stopped node: queues, messages, users, vhosts."""
        assert self._process is None
        shutil.rmtree(self.folder / "mnesia")

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        for pid in self._pids("beam.smp"):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        for pid in self._pids("beam.smp"):
            os.kill(pid, signal.SIGCONT)

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` (seconds)."""
        done = subprocess.run(
            [str(PROGRAMS / "rabbitmqctl"), *arguments], env=self._env, cwd=self.folder, capture_output=True, timeout=60,
            check=False, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def set_memory_alarm(self, is_on: bool) -> None:
        """Raise or clear the alarm that makes the broker block all who publish."""
        self.control("set_vm_memory_high_watermark", "0.000001" if is_on else "0.6")

    def set_ack_timeout(self, timeout_ms: int) -> None:
        """Let a message be unacked no longer than this, on channels opened from now on."""
        self.control("eval", f"application:set_env(rabbit, consumer_timeout, {timeout_ms}).")

    def close(self) -> None:
        """End the node and all that it has started."""
        with suppress(Exception):
            self.resume()
            self.kill()
        for pid in self._pids(""):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def _pids(self, program: str) -> list[int]:
        """The processes of this node that run the program."""
        wanted, found = f"{TOKEN}={self.token}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if program in (entry / "comm").read_text() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


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
def open_node(folder: Path, settings: Sequence[str] = ()) -> Iterator[RabbitNode]:
    """A private node; ended at the end of the ``with``. ``LookupError`` where it cannot be started."""
    if not is_available():
        raise LookupError(f"these tests need {PROGRAMS}/rabbitmq-server (Debian: rabbitmq-server)")
    node = RabbitNode(folder, settings)
    try:
        node.start()
        yield node
    finally:
        node.close()


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


def require(folder: Path, *, private: bool = False) -> Any:
    """A context that opens a broker; where none can be had the test fails in CI and is skipped elsewhere."""
    import pytest  # here, since benchmarks do without

    @contextmanager
    def opened() -> Iterator[Rabbit]:
        try:
            context = open_node(folder) if private else open_rabbit(folder)
            rabbit = context.__enter__()
        except LookupError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        try:
            yield rabbit
        finally:
            context.__exit__(None, None, None)

    return opened()
