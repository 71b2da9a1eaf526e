"""Celery as the peer of a fleet: no-op tasks over RabbitMQ whose results come back over RabbitMQ.

    PYTHON benchmarks/celery_peer.py drain URL COUNT     results a second, sent before the workers start
    PYTHON benchmarks/celery_peer.py latency URL COUNT   milliseconds from send to result, each on a line

It runs in an environment of its own that has Celery 5; nothing of wlmctl is imported. Durable queue, persistent
messages and results, acked after execution; two workers with four threads each.
"""

from __future__ import annotations

import subprocess
import sys
import time

from celery import Celery
from celery.result import ResultSet

URL = sys.argv[2] if len(sys.argv) > 2 and sys.argv[1] in ("drain", "latency") else ""

app = Celery("celery_peer", broker=URL or None, backend="rpc://")
app.conf.update(
    task_acks_late=True,
    result_persistent=True,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    task_default_queue="celery_peer",
)


def nothing() -> None:
    """The task."""


noop = app.task(name="noop")(nothing)


def workers(url: str) -> list[subprocess.Popen[bytes]]:
    """Two workers of four threads."""
    words = ["worker", "-P", "threads", "-c", "4", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "-b", url, "-A", "celery_peer", *words, "-l", "ERROR"]
    return [
        subprocess.Popen([*command, "-n", f"w{number}@%h"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for number in range(2)
    ]


def drain(url: str, count: int) -> None:
    """All are sent first, which costs Celery nothing here; then workers start, and from the first result it counts."""
    sent = ResultSet([noop.apply_async() for _ in range(count)])
    running = workers(url)
    times_s = [time.perf_counter() for _ in sent.iter_native()]
    print((count - 1) / (times_s[-1] - times_s[0]))
    end(running)


def latency(url: str, count: int) -> None:
    """One after the other, on idle workers."""
    running = workers(url)
    for number in range(count + 10):
        start_s = time.perf_counter()
        noop.apply_async().get()
        if number >= 10:
            print(1000 * (time.perf_counter() - start_s))
        time.sleep(0.02)
    end(running)


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """No worker is left."""
    for process in running:
        process.kill()
        process.wait()


if __name__ == "__main__":
    {"drain": drain, "latency": latency}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
