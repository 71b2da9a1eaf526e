"""How fast messages go through the broker's module, beside bare pika in the same run.

    python -m benchmarks.broker [--quick] [--runs N]

Messages of 300 bytes, durable queue, persistent, confirmed; one process. "bare pika" is a ``SelectConnection`` with
public calls only, a window of 1,000 confirms or a prefetch of 1,000 acked every 500.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pika

from benchmarks import options
from benchmarks.figures import Report, Spread, interleaved, ratio
from tests.services.rabbitmq import open_rabbit
from wlmctl.broker.contract import Outgoing
from wlmctl.broker.rabbitmq import RabbitBroker, RabbitSettings

BODY = b"x" * 300
WINDOW = 1000
KINDS: tuple[Literal["classic", "quorum"], ...] = ("classic", "quorum")


def bare_publish(url: str, queue: str, count: int) -> float:
    """Messages a second: publish with a window of confirms, by pika alone."""
    state: dict[str, Any] = {"sent": 0, "confirmed": 0, "start_s": 0.0}
    properties = pika.BasicProperties(delivery_mode=2)

    def opened(connection: Any) -> None:
        connection.channel(on_open_callback=lambda channel: channel.confirm_delivery(
            lambda frame: confirmed(connection, channel, frame), callback=lambda _: begin(channel)
        ))  # fmt: skip

    def begin(channel: Any) -> None:
        channel.queue_declare(queue, passive=True, callback=lambda _: start(channel))

    def start(channel: Any) -> None:
        state["start_s"] = now()
        fill(channel)

    def fill(channel: Any) -> None:
        while state["sent"] < count and state["sent"] - state["confirmed"] < WINDOW:
            channel.basic_publish("", queue, BODY, properties)
            state["sent"] += 1

    def confirmed(connection: Any, channel: Any, frame: Any) -> None:
        state["confirmed"] = frame.method.delivery_tag
        if state["confirmed"] >= count:
            state["took_s"] = now() - state["start_s"]
            connection.close()
        elif state["sent"] - state["confirmed"] <= WINDOW // 2:
            fill(channel)

    return _run_bare(url, opened, state, count)


def bare_consume(url: str, queue: str, count: int) -> float:
    """Messages a second: consume with a prefetch, acked every half of it, by pika alone."""
    state: dict[str, Any] = {"seen": 0}

    def opened(connection: Any) -> None:
        connection.channel(on_open_callback=lambda channel: begin(connection, channel))

    def begin(connection: Any, channel: Any) -> None:
        channel.basic_qos(prefetch_count=WINDOW)
        state["start_s"] = now()
        channel.basic_consume(queue, lambda _c, method, _p, _b: seen(connection, channel, method))

    def seen(connection: Any, channel: Any, method: Any) -> None:
        state["seen"] += 1
        if state["seen"] % (WINDOW // 2) == 0 or state["seen"] == count:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if state["seen"] == count:
            state["took_s"] = now() - state["start_s"]
            connection.close()

    return _run_bare(url, opened, state, count)


def _run_bare(url: str, opened: Callable[[Any], None], state: dict[str, Any], count: int) -> float:
    connection = pika.SelectConnection(
        pika.URLParameters(url), on_open_callback=opened, on_close_callback=lambda c, _: c.ioloop.stop()
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return count / float(state["took_s"])


def own_publish(broker: RabbitBroker, queue: str, count: int) -> float:
    """Messages a second: ``send`` in batches of 200, until all are confirmed."""
    channel = broker.channel()
    start_s = now()
    for _ in range(count // 200):
        channel.send([Outgoing(queue, BODY) for _ in range(200)])
    channel.flush()
    took_s = now() - start_s
    channel.close()
    return count / took_s


def own_consume(broker: RabbitBroker, queue: str, count: int) -> float:
    """Messages a second: ``receive_many`` and ``ack`` in another thread than the connection's."""
    channel = broker.channel()
    start_s, seen = now(), 0
    channel.consume(queue, WINDOW)
    while seen < count:
        batch = channel.receive_many(500, 30)
        seen += len(batch)
        channel.ack(*batch)
    took_s = now() - start_s
    channel.close()
    return count / took_s


def own_latency_s(broker: RabbitBroker, queue: str, count: int) -> float:
    """Seconds from ``publish`` to the delivery in the same process: publish, confirm, receive, ack; the mean."""
    channel = broker.channel()
    channel.consume(queue, 10)
    start_s = now()
    for _ in range(count):
        channel.publish(queue, BODY)
        found = channel.receive(10)
        assert found is not None
        channel.ack(found)
    took_s = now() - start_s
    channel.close()
    return took_s / count


def now() -> float:
    """Seconds."""
    return time.perf_counter()


def measure(report: Report, folder: Path, chosen: argparse.Namespace) -> None:
    """Both, interleaved, on a classic and a quorum queue."""
    count = 1000 if chosen.quick else 20_000
    with open_rabbit(folder / "rabbitmq") as rabbit:
        for kind in KINDS:
            url = rabbit.vhost().url
            broker = RabbitBroker(RabbitSettings(url, queue_type=kind))
            for queue in ("wlm.results", "wlm.work"):
                broker.channel().declare(queue)
            found = interleaved(
                chosen.runs,
                {
                    "bare publish": partial(bare_publish, url, "wlm.results", count),
                    "bare consume": partial(bare_consume, url, "wlm.results", count),
                    "own publish": partial(own_publish, broker, "wlm.results", count),
                    "own consume": partial(own_consume, broker, "wlm.results", count),
                    "latency": partial(own_latency_s, broker, "wlm.work", count // 20),
                },
            )
            report.title(f"The broker's module and bare pika, {kind} queue, {count} messages")
            rows = [_row(what, found[f"bare {what}"], found[f"own {what}"]) for what in ("publish", "consume")]
            report.table(("messages a second", "bare pika", "wlmctl", "ratio"), rows)
            latency_ms = Spread([1000 * value_s for value_s in found["latency"].values])
            print(f"publish, confirm, receive and ack of one message: {latency_ms.text()} ms\n")
            for what in ("publish", "consume"):
                spread = ratio(found[f"own {what}"], found[f"bare {what}"])
                report.promise(f"{what} against bare pika, {kind}", spread.median, 0.7, at_least=True)
            broker.close()


def _row(what: str, bare: Spread, own: Spread) -> tuple[str, ...]:
    return what, bare.text("{:.0f}"), own.text("{:.0f}"), ratio(own, bare).text()


if __name__ == "__main__":
    raise SystemExit(options.run(measure, __doc__ or "", runs=3))
