"""A throw-away PostgreSQL server on a socket and a loopback address, and a database of its own for each test."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.services.ports import free_port
from tests.services.processes import descendants, send
from tests.waiting import wait_until

#: The role that logs in over TCP, with a password.
LAB, PASSWORD = "lab", "correct horse"

_BINARIES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/usr/pgsql-*/bin")
_count = itertools.count(1)


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: of the newest version, or of the PATH."""
    found = [path for pattern in _BINARIES for path in Path("/").glob(f"{pattern.removeprefix('/')}/initdb")]
    on_path = shutil.which("initdb")
    newest = max(found, key=_version, default=Path(on_path) if on_path else None)
    return newest.parent if newest else None


def _version(path: Path) -> int:
    digits = "".join(filter(str.isdigit, str(path)))
    return int(digits or 0)


def require_postgres() -> Path:
    """The binaries; without them the test fails in CI and is skipped, loudly, elsewhere."""
    folder = binaries()
    if folder is not None:
        return folder
    text = "PostgreSQL is not installed (Debian: postgresql)"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


class Server:
    """A cluster that is reached by ``admin_url``; a native one can be stopped, killed and started again."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url

    def execute(self, sql: str, database: str | None = None) -> list[tuple[object, ...]]:
        """One statement as the administrator."""
        with psycopg.connect(self.admin_url, dbname=database, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """An empty database; its URL."""
        name = f"t{os.getpid()}_{next(_count)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.url(name)

    def url(self, database: str) -> str:
        """The administrator's URL of a database."""
        head, _, tail = self.admin_url.partition("?")
        return f"{head.rpartition('/')[0]}/{database}" + (f"?{tail}" if tail else "")

    def drop(self, url: str) -> None:
        """Remove a database, with whoever is connected to it."""
        name = url.partition("?")[0].rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class NativeServer(Server):
    """A private cluster in a folder of its own, run by an ordinary user (root may not run PostgreSQL)."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self._binaries = folder, binaries
        self.address, self.port = "127.0.0.9", free_port("127.0.0.9")
        self._process: subprocess.Popen[bytes] | None = None
        self._as = _ordinary_user(folder)
        super().__init__(f"postgresql://wlm@/postgres?host={folder}&port={self.port}")
        self._run(
            "initdb", "-D", str(folder / "data"), "-U", "wlm", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256",
        )  # fmt: skip
        self.start()
        self.execute(f"CREATE ROLE {LAB} LOGIN PASSWORD '{PASSWORD}'")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as, str(self._binaries / program), *arguments], capture_output=True, text=True, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it and wait until it answers; what a killed one left behind is waited out."""

        def is_up() -> bool:
            if self._process is None or self._process.poll() is not None:
                self._start()
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return True
            return False

        wait_until(is_up, f"PostgreSQL answers (see {self.folder}/log)", timeout_s=120)

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as, str(self._binaries / "postgres"), "-D", str(self.folder / "data"),
                    "-k", str(self.folder), "-p", str(self.port), "-h", self.address,
                    "-c", "max_connections=200", "-c", "shared_buffers=32MB",
                    "-c", "wal_writer_delay=10s",  # what is not committed is lost with a killed server
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The server's first process."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal to the server's first process."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, how: int = signal.SIGINT) -> None:
        """End it: SIGINT breaks all connections off, SIGKILL as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            started = descendants(self._process.pid)
            self.send(how)
            self._process.wait(60)
            if how == signal.SIGKILL:  # what it has started notices that only a moment later
                send(started, signal.SIGKILL)

    def lab_url(self, url: str, password: str | None = PASSWORD) -> str:
        """The same database over TCP, as the role that needs a password."""
        name = url.partition("?")[0].rpartition("/")[2]
        secret = "" if password is None else f":{password.replace(' ', '%20')}"
        return f"postgresql://{LAB}{secret}@{self.address}:{self.port}/{name}"


def _ordinary_user(folder: Path) -> list[str]:
    """The words before a command that run it as an ordinary user, to whom the folder then belongs."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
    raise AssertionError("no user postgres or nobody to run PostgreSQL")


@contextmanager
def native_server() -> Iterator[NativeServer]:
    """A private server; in memory where there is room, so that its fsync costs nothing."""
    folder = require_postgres()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 500 << 20 else None
    with tempfile.TemporaryDirectory(prefix="wlm-pg-", dir=base, ignore_cleanup_errors=True) as root:
        server = NativeServer(Path(root), folder)
        try:
            yield server
        finally:
            server.stop()
