"""Our packets and flows against what paramiko is today: a change of its private parts must be noticed here first."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.buffered_pipe import PipeTimeout
from paramiko.common import MSG_CHANNEL_DATA
from paramiko.packet import Packetizer

from wlmctl.ssh.ends import Ends
from wlmctl.ssh.flow import Pieces, send_all
from wlmctl.ssh.messages import Packets, Parts
from wlmctl.ssh.packets import PACKETIZER, FastPacketizer, is_known

KEY, IV = bytes(range(16)), bytes(range(12))


def ciphered(packetizer: Packetizer, *, key: bytes = KEY) -> Packetizer:
    settings: dict[str, Any] = {"block_size": 16, "mac_engine": None, "mac_size": 16, "mac_key": None, "aead": True}
    engine: Any = AESGCM(key)
    packetizer.set_outbound_cipher(block_engine=engine, iv_out=IV, **settings)
    packetizer.set_inbound_cipher(block_engine=engine, iv_in=IV, **settings)
    return packetizer


def send_for_ever(packetizer: Packetizer) -> None:
    while True:
        packetizer.send_message(Parts(bytes(32_000)))


@pytest.fixture
def sockets():
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.1)
        other.settimeout(0.1)
        yield one, other


def test_this_paramiko_is_one_whose_packetizer_we_know():
    assert PACKETIZER is FastPacketizer


def test_a_paramiko_with_other_private_parts_is_left_to_itself():
    class Other(Packetizer):
        def __init__(self) -> None:
            super().__init__(None)  # type: ignore[arg-type]
            del self._Packetizer__remainder  # type: ignore[attr-defined]

    assert not is_known(Other())


@pytest.mark.parametrize(("sender", "receiver"), [(FastPacketizer, Packetizer), (Packetizer, FastPacketizer)])
def test_paramiko_reads_what_we_send_and_the_other_way_round(sockets, sender, receiver):
    out, into = ciphered(sender(sockets[0])), ciphered(receiver(sockets[1]))
    for length in (*range(40), 1000, 32_768, 65_000):
        data = bytes([length % 251]) * length
        fields = (MSG_CHANNEL_DATA.to_bytes(1, "big"), (7).to_bytes(4, "big"), length.to_bytes(4, "big"))
        out.send_message(Parts(*fields, memoryview(data)))
        kind, message = into.read_message()
        assert (kind, message.get_int(), message.get_binary()) == (MSG_CHANNEL_DATA, 7, data)


def test_several_packets_by_one_call_are_those_packets(sockets):
    out, into = ciphered(FastPacketizer(sockets[0])), ciphered(Packetizer(sockets[1]))
    packets = [Parts(b"\x50", bytes([number]) * length) for number, length in enumerate((1, 30_000, 0, 30_000, 17))]
    out.send_message(Packets(packets))
    for packet in packets:
        kind, message = into.read_message()
        assert bytes([kind]) + message.asbytes() == packet.asbytes()


def test_a_large_piece_goes_out_by_few_calls_and_nothing_waits_for_a_window_with_packets_in_hand(sockets):
    calls: list[int] = []
    arrived = bytearray()

    class Connection:
        packetizer = FastPacketizer(sockets[0])
        ends = Ends()

        def _send_user_message(self, message: paramiko.Message) -> None:
            packets = message.packets if isinstance(message, Packets) else [message]
            data = b"".join(packet.asbytes()[9:] for packet in packets)
            arrived.extend(data)
            calls.append(len(packets))
            adjust = paramiko.Message()
            adjust.add_int(len(data))
            adjust.rewind()
            channel._window_adjust(adjust)

    channel: Any = paramiko.Channel(1)
    channel.transport = Connection()
    channel.remote_chanid, channel.out_window_size, channel.out_max_packet_size = 7, 100_000, 32_768
    channel.settimeout(5.0)
    content = bytes(range(256)) * 1_000
    send_all(channel, b"head", memoryview(content))
    assert bytes(arrived) == b"head" + content
    assert calls == [4, 4, 2]


def test_packets_that_arrive_in_bits_or_many_at_once_are_all_read(sockets):
    out, into = ciphered(FastPacketizer(sockets[0])), ciphered(FastPacketizer(sockets[1]))

    def send() -> None:
        for number in range(500):
            message = paramiko.Message()
            message.add_byte(b"\x50")
            message.add_int(number)
            message.add_string(bytes(number * 67))
            out.send_message(message)

    thread = threading.Thread(target=send)
    thread.start()
    for number in range(500):
        kind, message = into.read_message()
        assert (kind, message.get_int(), len(message.get_binary())) == (0x50, number, number * 67)
    thread.join()


def test_the_data_of_a_channel_goes_to_who_takes_it_and_all_else_to_paramiko(sockets):
    out, into = ciphered(FastPacketizer(sockets[0])), ciphered(FastPacketizer(sockets[1]))
    taken: list[bytes] = []
    into.takers[7] = taken.append
    for channel, data in ((7, b"one"), (7, b"other" * 5), (8, b"another channel's")):
        fields = (MSG_CHANNEL_DATA.to_bytes(1, "big"), channel.to_bytes(4, "big"), len(data).to_bytes(4, "big"))
        out.send_message(Parts(*fields, data))
    out.send_message(Parts(b"\x50", b"fields"))
    kind, message = into.read_message()
    assert taken == [b"one", b"other" * 5]
    assert (kind, message.get_int(), message.get_binary()) == (MSG_CHANNEL_DATA, 8, b"another channel's")
    kind, message = into.read_message()
    assert (kind, message.asbytes()) == (0x50, b"fields")
    assert message.seqno == 3  # by it the answer to a packet that is not understood names the packet


def test_a_packet_that_was_changed_or_is_no_packet_ends_the_connection(sockets):
    into = ciphered(FastPacketizer(sockets[1]))
    ciphered(FastPacketizer(sockets[0]), key=bytes(16)).send_message(Parts(b"\x50text"))
    with pytest.raises(paramiko.SSHException, match="changed"):
        into.read_message()
    into = ciphered(FastPacketizer(sockets[1]))
    sockets[0].sendall(b"HTTP/1.1 400 Bad Request")
    with pytest.raises(paramiko.SSHException, match="bytes"):
        into.read_message()


def test_a_reader_and_a_writer_notice_at_once_that_their_connection_is_closed(sockets, monkeypatch):
    monkeypatch.setattr("wlmctl.ssh.packets._LOOK_AGAIN", struct.pack("ll", 600, 0))  # not by that
    packetizer = ciphered(FastPacketizer(sockets[0]))
    ended = []

    def read() -> None:
        with pytest.raises(EOFError):
            packetizer.read_message()
        ended.append("reader")

    def write() -> None:
        with pytest.raises(EOFError):
            send_for_ever(packetizer)
        ended.append("writer")

    threads = [threading.Thread(target=work) for work in (read, write)]
    for thread in threads:
        thread.start()
    threads[1].join(0.1)  # it fills the line
    packetizer.close()
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == ["reader", "writer"]


def test_a_silent_peer_gets_a_keepalive_while_it_is_waited_for(sockets):
    packetizer = ciphered(FastPacketizer(sockets[0]))

    def end() -> None:
        sockets[1].shutdown(socket.SHUT_WR)

    packetizer.set_keepalive(0.1, end)
    with pytest.raises(EOFError):
        packetizer.read_message()


def test_a_peer_that_takes_nothing_ends_a_send(sockets):
    packetizer = ciphered(FastPacketizer(sockets[0]))
    packetizer.longest_silence_s = 0.2
    with pytest.raises(EOFError):
        send_for_ever(packetizer)


def test_pieces_are_read_by_any_count_and_end():
    pieces = Pieces()
    pieces.feed(b"abc")
    pieces.feed(b"defg")
    assert (len(pieces), pieces.read(2), pieces.read(3), pieces.read(9)) == (7, b"ab", b"cde", b"fg")
    with pytest.raises(PipeTimeout):
        pieces.read(1, 0.01)
    with pytest.raises(PipeTimeout):
        pieces.read(1, 0.0)
    pieces.feed(b"rest")
    pieces.close()
    assert (pieces.read(9), pieces.read(9), pieces.empty()) == (b"rest", b"", b"")


def test_an_event_tells_whether_pieces_can_be_read():
    pieces, event = Pieces(), threading.Event()
    pieces.set_event(event)
    assert not event.is_set()
    pieces.feed(b"ab")
    assert event.is_set()
    pieces.read(1)
    assert event.is_set()
    pieces.read(1)
    assert not event.is_set()
    pieces.close()
    pieces.read(1)
    assert event.is_set()


def test_a_connection_that_is_being_closed_takes_nothing_of_the_one_that_gets_its_descriptor(sockets):
    class Watched(socket.socket):
        asked = staticmethod(lambda: None)

        def fileno(self) -> int:
            number = super().fileno()
            self.asked()
            return number

    sock = Watched(fileno=sockets[0].detach())
    sock.settimeout(0.1)
    packetizer = ciphered(FastPacketizer(sock))
    followed = threading.Event()
    next_connection: list[socket.socket] = []

    def close_and_open_another() -> None:
        packetizer.close()
        next_connection.extend(socket.socketpair())
        next_connection[1].send(b"SSH-2.0-next")
        followed.set()

    closing = threading.Thread(target=close_and_open_another)

    def between_the_descriptor_and_its_use() -> None:
        sock.asked = staticmethod(lambda: None)
        closing.start()
        followed.wait(0.3)

    sock.asked = between_the_descriptor_and_its_use
    with pytest.raises(EOFError):
        packetizer.read_message()
    closing.join(60)
    with next_connection[0], next_connection[1]:
        next_connection[0].settimeout(5)
        assert next_connection[0].recv(100) == b"SSH-2.0-next"
