"""Messages as AMQP frames: written and read as pika does it, whatever the network makes of the stream."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, frame, spec
from pika.data import encode_short_string

from wlmctl.broker.contract import Outgoing
from wlmctl.broker.rabbitmq.contents import Contents, Properties, frames

Heard = tuple[int, str, int, bool, Properties, bytes]


class Pika:
    """Stands for pika's side: keeps the bytes that it is given."""

    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


def marshalled(channel: int, method: Any, about: BasicProperties, bodies: list[bytes]) -> list[bytes]:
    """The frames of a message, as pika writes them."""
    size_bytes = sum(map(len, bodies))
    parts = [frame.Method(channel, method), frame.Header(channel, size_bytes, about)]
    return [each.marshal() for each in (*parts, *(frame.Body(channel, body) for body in bodies))]


def listening(*channels: int) -> tuple[Contents, Pika, list[Heard]]:
    """What takes the deliveries of these channels, pika behind it, and all deliveries that were taken."""
    heard = list[Heard]()
    contents, pika = Contents(), Pika()
    contents.before(pika)
    for number in channels:
        contents.takers[number] = lambda *delivery, number=number: heard.append((number, *delivery))
    return contents, pika, heard


@pytest.mark.parametrize("priority", [0, 7])
@pytest.mark.parametrize("is_transient", [False, True])
def test_a_message_is_written_as_pika_writes_it(priority: int, is_transient: bool) -> None:
    message = Outgoing("wlm.work.noop", b'{"a":"\xc3\xa4"}', priority, is_transient)
    about = BasicProperties(
        delivery_mode=1 if is_transient else 2, priority=priority or None, correlation_id="4711", user_id="möwe"
    )
    method = spec.Basic.Publish(exchange="wlm.work", routing_key=message.queue, mandatory=True)
    assert frames(3, "wlm.work", message, 4711, "möwe") == b"".join(marshalled(3, method, about, [message.body]))


ABOUT = st.one_of(
    st.builds(
        BasicProperties,
        delivery_mode=st.sampled_from([1, 2, None]),
        priority=st.sampled_from([None, 1, 9]),
        correlation_id=st.sampled_from([None, "1", "12345"]),
        user_id=st.sampled_from([None, "guest", "w1"]),
    ),
    st.builds(BasicProperties, headers=st.just({"x-wlm-reason": "bad", "x-delivery-count": 2}), user_id=st.just("w2")),
    st.builds(BasicProperties, content_type=st.just("text/plain"), message_id=st.just("m"), priority=st.just(3)),
)
DELIVERY = st.tuples(
    st.sampled_from([1, 2]), st.sampled_from(["wlm-1", "wlm-22"]), st.integers(1, 2**63), st.booleans(), ABOUT,
    st.lists(st.binary(min_size=1, max_size=40), max_size=3),
)  # fmt: skip
OTHER = st.sampled_from(
    [
        frame.Heartbeat().marshal(),
        frame.Method(1, spec.Basic.Ack(5, True)).marshal(),
        frame.Method(2, spec.Basic.CancelOk("wlm-1")).marshal(),
        b"".join(marshalled(1, spec.Basic.Return(312, "NO_ROUTE", "e", "q"), BasicProperties(), [b"back"])),
        b"".join(marshalled(3, spec.Basic.Deliver("else", 1, False, "e", "q"), BasicProperties(), [b"not ours"])),
    ]
)


@given(st.lists(st.one_of(DELIVERY, OTHER), max_size=8), st.integers(1, 60))
def test_deliveries_are_taken_out_of_the_stream_however_it_is_cut(things: list[Any], step: int) -> None:
    stream, expected, rest = b"", list[Heard](), b""
    for thing in things:
        if isinstance(thing, bytes):
            stream += thing
            rest += thing
            continue
        channel, consumer, tag, is_redelivered, about, bodies = thing
        method = spec.Basic.Deliver(consumer, tag, is_redelivered, "wlm.work", "wlm.work.noop")
        stream += b"".join(marshalled(channel, method, about, bodies))
        known = Properties(about.user_id or "", about.priority or 0, about.headers)
        expected.append((channel, consumer, tag, is_redelivered, known, b"".join(bodies)))
    contents, pika, heard = listening(1, 2)
    for first in range(0, len(stream), step):
        contents.data_received(stream[first : first + step])
    assert heard == expected
    alive = frame.Heartbeat().marshal()
    assert pika.heard.replace(alive, b"") == rest.replace(alive, b"")
    assert not expected or alive in pika.heard  # else it would think that the broker is silent


def test_frames_of_two_channels_may_alternate() -> None:
    deliver = [spec.Basic.Deliver(f"wlm-{number}", number, False, "e", "q") for number in (1, 2)]
    parts = [marshalled(number, deliver[number - 1], BasicProperties(), [b"a%d" % number, b"b"]) for number in (1, 2)]
    contents, _, heard = listening(1, 2)
    for one, other in zip(*parts, strict=True):
        contents.data_received(one + other)
    assert [(delivery[0], delivery[-1]) for delivery in heard] == [(1, b"a1b"), (2, b"a2b")]


def test_a_delivery_that_was_coming_when_its_channel_was_left_is_nobodys() -> None:
    contents, pika, heard = listening(1)
    method, *rest = marshalled(1, spec.Basic.Deliver("wlm-1", 1, False, "e", "q"), BasicProperties(), [b"late"])
    contents.data_received(method)
    contents.takers.clear()
    contents.data_received(b"".join(rest))
    assert heard == []
    assert b"late" not in pika.heard  # which would not know what it belongs to


def test_a_new_connection_begins_with_nothing_that_was_coming_on_the_old_one() -> None:
    contents, _, _ = listening(1)
    deliver = marshalled(1, spec.Basic.Deliver("wlm-1", 1, False, "e", "q"), BasicProperties(), [b"cut"])
    contents.data_received(deliver[0])
    contents.takers.clear()
    later = Pika()
    contents.before(later)
    returned = b"".join(marshalled(1, spec.Basic.Return(312, "NO_ROUTE", "e", "q"), BasicProperties(), [b"back"]))
    contents.data_received(returned)
    assert later.heard == returned


def test_what_a_broker_of_another_protocol_says_reaches_pika_at_once() -> None:
    contents, pika, _ = listening()
    contents.data_received(b"AMQP\0\0\x09\x01")
    assert pika.heard == b"AMQP\0\0\x09\x01"


def test_short_texts_of_any_alphabet_keep_their_length_in_bytes() -> None:
    pieces: list[bytes] = []
    encode_short_string(pieces, "wlm.wörk")
    assert b"".join(pieces) in frames(1, "wlm.wörk", Outgoing("q", b"x"), 1, "guest")
