"""A way to a TCP service that is long, narrow, lossy, or breaks: what a process sees of a network."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

_PROCESS = Path(__file__).with_name("relay_process.py")

#: How a connection ends or hangs. ``cut``: nothing passes either way and nobody is told; ``stall``: nothing passes in
#: this direction; ``reset``: both ends hear of it; ``end``: both ends see an orderly end.
Failure = Literal["cut", "stall", "reset", "end"]
Way = Literal["up", "down"]


class Relay:
    """Listens on ``port`` of a loopback address and passes everything on to the service, in a process of its own.

    ``round_trip_s``: half of it in each direction. ``bytes_per_s``: a bound of each direction of each connection.
    ``late_share`` of the segments arrive ``late_s`` later, and what follows them after them, as after a loss and a
    retransmission time-out. A connection holds at most 4 MiB under way in each direction.
    """

    def __init__(
        self,
        host: str,
        port: int,
        address: str = "127.0.0.1",
        *,
        round_trip_s: float = 0.0,
        bytes_per_s: float | None = None,
        late_share: float = 0.0,
        late_s: float = 0.2,
        seed: int = 0,
    ) -> None:
        conditions = {
            "host": host, "port": port, "address": address, "round_trip_s": round_trip_s, "bytes_per_s": bytes_per_s,
            "late_share": late_share, "late_s": late_s, "seed": seed,
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROCESS), json.dumps(conditions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the client
        )
        self._lock = threading.Lock()
        self.address, self.port = address, int(self._answer()["port"])

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fail(self, how: Failure, way: Way, after_bytes: int) -> None:
        """The connection that carries the ``after_bytes``-th byte from now on in this direction fails behind it.

        Later connections work.
        """
        assert after_bytes > 0
        self._do("fail", how=how, way=way, after_bytes=after_bytes)

    @property
    def has_failed(self) -> bool:
        """True when the last ``fail`` has come about."""
        return bool(self._do("look")["has_failed"])

    def passed_bytes(self, way: Way) -> int:
        """How much has arrived at the other end so far."""
        return int(self._do("look")["passed_bytes"][way])

    def cut(self, *, loudly: bool = False) -> None:
        """Nothing passes from now on, as when a cable is pulled; ``loudly``: all is reset, new connections too."""
        self._do("cut", loudly=loudly)

    def mend(self) -> None:
        """Everything passes again: also what was sent meanwhile on connections that are still there."""
        self._do("mend")

    def close(self) -> None:
        """End all connections, and listen no more."""
        with self._lock:
            self._process.kill()
            self._process.communicate()

    def _do(self, what: str, **how: Any) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the relay's process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
