"""Acks in few frames."""

from __future__ import annotations

from collections.abc import Iterable

from pika.channel import Channel


def ack(channel: Channel, unacked: Iterable[int], tags: set[int]) -> None:
    """One frame for all ``tags`` from the oldest of ``unacked`` on (in order of delivery), else one each."""
    last = 0
    for tag in unacked:
        if tag not in tags:
            break
        last = tag
    if last:
        channel.basic_ack(last, multiple=True)
    for tag in tags:
        if tag > last:
            channel.basic_ack(tag)
