"""A private RabbitMQ node on loopback ports, of any user, with the management API and a TLS listener.

It can be stopped, killed, paused, emptied and restarted; it is up in about 10 s.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.certificates import Authority
from tests.services.ports import free_port
from tests.services.processes import stop
from tests.services.rabbitmq_api import ADMIN, PASSWORD, Rabbit

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
TOKEN = "WLM_TEST_RABBITMQ"


def is_available() -> bool:
    """True where a private node can be started."""
    return os.access(PROGRAMS / "rabbitmq-server", os.X_OK)


class RabbitNode(Rabbit):
    """A private node, as any user. ``settings``: further lines of rabbitmq.conf.

    Those of a cluster have their ``name`` and one ``epmd_port`` for all, and share a cookie.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = (), *, name: str = "", epmd_port: int = 0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.token = uuid.uuid4().hex
        self.name, self._epmd_port = name or f"t{self.token[:8]}@localhost", epmd_port or free_port(self.host)
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
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_NODENAME": self.name,
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

    @property
    def is_running(self) -> bool:
        """True between a start and an end."""
        return self._process is not None

    def launch(self) -> None:
        """Start the node, and do not wait for it."""
        assert self._process is None
        with open(self.folder / "stdout", "ab") as out:
            self._process = subprocess.Popen(
                [str(PROGRAMS / "rabbitmq-server")],
                env=self._env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the node and wait until AMQP and the API answer (about 10 s)."""
        self.launch()
        self.wait()

    def wait(self, timeout_s: float = 180) -> None:
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
        stop(self._pids("beam.smp"))

    def resume(self) -> None:
        """SIGCONT."""
        for pid in self._pids("beam.smp"):
            os.kill(pid, signal.SIGCONT)

    def control(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` (seconds)."""
        command = [str(PROGRAMS / "rabbitmqctl"), *arguments]
        done = subprocess.run(
            command, env=self._env, cwd=self.folder, capture_output=True, timeout=60, check=False, text=True
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def write_control(self, folder: Path) -> Path:
        """A folder for PATH with a ``rabbitmqctl`` that is about this node."""
        folder.mkdir(parents=True, exist_ok=True)
        words = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in self._env.items())])
        program = folder / "rabbitmqctl"
        program.write_text(f'#!/bin/sh\nexec {words} {PROGRAMS}/rabbitmqctl "$@"\n')
        program.chmod(0o755)
        return folder

    def close_connections(self, vhost: str) -> int:
        """Have the node close all connections to the vhost (sooner than the API, which lists them late)."""
        self.control("close_all_connections", "--vhost", vhost, "a test wants it")
        return 1

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
            self._process.wait(60)

    def processes(self) -> list[int]:
        """The node's own processes."""
        return self._pids("beam.smp")

    def _pids(self, program: str) -> list[int]:
        """The processes of this node that run the program."""
        wanted, found = f"{TOKEN}={self.token}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if program in (entry / "comm").read_text() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found


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
