"""The relay that other tests break connections with: what it is told to do to a connection happens, to the byte."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.services.relay import Relay, Way


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a service that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1 << 18):
                    connection.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def called(relay: Relay) -> socket.socket:
    connection = socket.create_connection((relay.address, relay.port))
    connection.settimeout(30)
    return connection


def read(connection: socket.socket, size_bytes: int) -> bytes:
    received = b""
    while len(received) < size_bytes:
        received += connection.recv(1 << 16)
    return received


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_relay_resets_both_ends_behind_the_byte_it_is_told(echo: int, way: Way) -> None:
    with Relay("127.0.0.1", echo) as relay, called(relay) as connection:
        relay.fail("reset", way, after_bytes=10)
        connection.sendall(b"0123456789abc")
        received = b""
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - what came before it counts
            while data := connection.recv(1000):
                received += data
        assert received == (b"0123456789" if way == "down" else b"")
        assert relay.has_failed
        assert relay.passed_bytes(way) == 10
        with called(relay) as other:
            other.sendall(b"works")
            assert other.recv(100) == b"works"


def test_a_stalled_direction_holds_back_the_rest_and_a_cut_tells_nobody(echo: int) -> None:
    with Relay("127.0.0.1", echo) as relay:
        with called(relay) as connection:
            relay.fail("stall", "down", after_bytes=3)
            connection.sendall(b"123456")
            assert connection.recv(100) == b"123"
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(100)
        with called(relay) as connection:
            relay.cut()
            connection.sendall(b"late")
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(100)
            relay.mend()
            connection.settimeout(30)
            assert connection.recv(100) == b"late"
            relay.cut(loudly=True)
            with pytest.raises(ConnectionResetError):
                connection.recv(100)


def test_a_far_service_answers_after_a_round_trip_and_a_late_segment_delays_those_behind_it(echo: int) -> None:
    with Relay("127.0.0.1", echo, round_trip_s=0.1) as relay, called(relay) as connection:
        began = time.monotonic()
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        assert time.monotonic() - began >= 0.1
    with Relay("127.0.0.1", echo, late_share=0.01, late_s=0.2) as relay, called(relay) as connection:
        sent = bytes(range(256)) * 4000  # some 700 segments each way
        began = time.monotonic()
        threading.Thread(target=connection.sendall, args=(sent,)).start()
        assert read(connection, len(sent)) == sent
        assert time.monotonic() - began >= 0.2
    with Relay("127.0.0.1", echo, bytes_per_s=1_000_000) as relay, called(relay) as connection:
        began = time.monotonic()
        connection.sendall(bytes(200_000))
        assert read(connection, 200_000) == bytes(200_000)
        assert time.monotonic() - began >= 0.2
