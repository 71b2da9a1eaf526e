"""A process that is started again whenever it ends, as systemd would."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.waiting import wait_until

#: Seconds between an end and the next start.
PAUSE_S = 0.3


class Supervised:
    """``argv`` in ``folder``, started again until ``end``; what it says is in ``<name>.log``.

    ``endings``: the exit codes of ends that nobody here has caused.
    """

    def __init__(self, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name, self._argv, self._folder, self._env = name, argv, folder, env
        self.log = folder / f"{name}.log"
        self.endings: list[int] = []
        self._lock = threading.RLock()
        self._is_wanted, self._is_paused = True, False
        self._expected: set[int] = set()
        self._process = self._start()
        self._thread = threading.Thread(target=self._supervise, name=name, daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self._begin_bytes = log.tell()
            return subprocess.Popen(
                self._argv, cwd=self._folder, env=dict(self._env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _supervise(self) -> None:
        while True:
            code = self._process.wait()
            with self._lock:
                if self._process.pid not in self._expected:
                    self.endings.append(code)
                if not self._is_wanted:
                    return
            self.note(f"ended with {code}, is started again")
            time.sleep(PAUSE_S)
            with self._lock:
                if not self._is_wanted:
                    return
                self._process = self._start()

    def note(self, text: str) -> None:
        """A line of the driver's own in the log."""
        now_s = time.time()
        stamp = time.strftime("%F %T", time.localtime(now_s)) + f",{int(now_s % 1 * 1000):03}"
        with self.log.open("a") as log:
            log.write(f"{stamp} --- {self.name} ({self._process.pid}) {text}\n")

    def send(self, number: signal.Signals) -> None:
        """A signal; SIGKILL and SIGTERM make this an end that was expected."""
        with self._lock:
            self.note(f"gets {number.name}")
            if number in (signal.SIGKILL, signal.SIGTERM):
                self._expected.add(self._process.pid)
            self._process.send_signal(number)

    def end(self, timeout_s: float) -> int | None:
        """Ask it to end and start it no more; its exit code, None when it had to be killed."""
        with self._lock:
            self._is_wanted = False
            code = self._process.poll()
            if code is not None:  # it was about to be started again
                return 0 if self._process.pid in self._expected else code
        wait_until(self._is_up, f"{self.name} has started", timeout_s)
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def _is_up(self) -> bool:
        """True once the process has said something: from then on it ends in order when it is told to."""
        lines = self.log.read_bytes()[self._begin_bytes :].splitlines()
        return self._process.poll() is not None or any(b" --- " not in line for line in lines)

    def kill(self) -> None:
        """End it as a crash would, for good."""
        with self._lock:
            self._is_wanted = False
        self.send(signal.SIGKILL)
        self._process.wait()
        self._thread.join()
