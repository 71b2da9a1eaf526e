"""One SFTP session over a line that a test holds in its hand."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable

import pytest

from wlmctl.errors import Broken, Unreachable
from wlmctl.sftp.answers import LARGEST_PACKET_BYTES, Cutter
from wlmctl.sftp.faults import space
from wlmctl.sftp.pumps import write
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Packet, Status, string, u32, u64
from wlmctl.transport import FileInfo


class HeldLine:
    """A line whose other end is the test: ``says`` is what the server sends, ``requests`` what it was sent."""

    def __init__(self, hello: bytes | None = None) -> None:
        self.is_alive = True
        self.sent = b""
        self.dealt_bytes = 0
        self._hello = framed(Packet.VERSION, u32(3)) if hello is None else hello

    def start(self, take: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self.says, self.ends = take, end
        take(self._hello)

    def send(self, *parts: bytes | memoryview) -> None:
        self.sent += b"".join(parts)

    def dealt_with(self, count: int) -> None:
        self.dealt_bytes += count

    def close(self) -> None:
        self.is_alive = False
        self.ends()

    @property
    def requests(self) -> list[tuple[int, int]]:
        """Type and number of each request."""
        found, at = [], 9  # behind INIT
        while at < len(self.sent):
            length, kind, number = struct.unpack_from(">IBI", self.sent, at)
            found.append((kind, number))
            at += 4 + length
        return found


class FarLine(HeldLine):
    """A line to a host that answers the requests which come together together: ``turns`` is how often it was asked."""

    def __init__(self, answer: Callable[[int, int], bytes], hello: bytes) -> None:
        super().__init__(hello)
        self._answer, self.turns = answer, 0

    def send(self, *parts: bytes | memoryview) -> None:
        before = len(self.requests)
        super().send(*parts)
        new = self.requests[before:]
        if new:
            self.turns += 1
            self.says(b"".join(self._answer(kind, number) for kind, number in new))


def hello(*extensions: tuple[bytes, bytes]) -> bytes:
    return framed(Packet.VERSION, u32(3) + b"".join(string(name) + string(version) for name, version in extensions))


def framed(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", 1 + len(body), kind) + body


def status(number: int, code: int = Status.OK) -> bytes:
    return framed(Packet.STATUS, u32(number) + u32(code) + string(b"text") + string(b""))


@pytest.fixture
def line() -> HeldLine:
    return HeldLine()


@pytest.fixture
def session(line: HeldLine) -> Session:
    return Session(line, "nas", 0.2)


def test_answers_are_found_however_they_are_cut():
    data = b"".join(framed(Packet.DATA, u32(number) + string(bytes([number]) * number * 700)) for number in range(40))
    for seed in range(30):
        rng, cutter, found, at = random.Random(seed), Cutter(), [], 0
        while at < len(data):
            step = rng.choice((1, 3, 8, 13, 100, 5000, 40_000))
            found += cutter.cut(data[at : at + step])
            at += step
        assert [(answer.number, answer.data()) for answer in found] == [
            (number, bytes([number]) * number * 700) for number in range(40)
        ]
        assert sum(answer.size_bytes for answer in found) == len(data)


@pytest.mark.parametrize(
    "text", [b"Welcome to this host\n", struct.pack(">IB", LARGEST_PACKET_BYTES + 1, 103) + bytes(99)]
)
def test_what_is_no_sftp_is_told_with_its_beginning(text):
    with pytest.raises(Unreachable, match="is not SFTP"):
        Session(HeldLine(text), "nas", 0.2)


def test_a_data_answer_that_is_not_as_long_as_it_says_is_broken():
    (answer,) = Cutter().cut(framed(Packet.DATA, u32(1) + u32(9) + b"short"))
    with pytest.raises(Broken, match="ends too early"):
        answer.data()


def test_requests_wait_for_others_and_answers_may_come_in_any_order(line, session):
    numbers = [session.send(Packet.LSTAT, string(b"/%d" % number)) for number in range(3)]
    assert line.requests == []
    line.says(b"".join(status(number) for number in reversed(numbers)))
    assert [session.take(number).number for number in numbers] == numbers
    assert [number for _, number in line.requests[1:]] == numbers
    assert line.dealt_bytes > 0


def test_a_session_begins_without_a_wait_for_how_much_the_host_takes_and_learns_it_when_that_matters():
    line = HeldLine(hello((b"limits@openssh.com", b"1")))
    session = Session(line, "nas", 0.2)
    (_, (kind, number)) = line.requests  # on its way, behind the request for the home
    assert kind == Packet.EXTENDED
    told = framed(Packet.EXTENDED_REPLY, u32(number) + u64(262_144) + u64(100_000) + u64(50_000) + u64(9))
    line.says(status(1) + told)
    assert (session.limits.read_bytes, session.limits.write_bytes, session.limits.handles) == (100_000, 50_000, 9)


def test_a_host_that_does_not_tell_how_much_it_takes_is_asked_for_what_every_host_takes(session):
    assert (session.limits.read_bytes, session.limits.write_bytes) == (32_768, 32_768)


def test_the_room_for_a_path_with_many_folders_that_are_not_there_yet_is_known_after_one_round_trip():
    def answer(kind: int, number: int) -> bytes:
        if kind != Packet.EXTENDED or number < 4:  # home, and two paths that are not there
            return status(number, Status.NO_SUCH_FILE)
        fields = (u64(512), u64(4096), u64(100), u64(50), u64(number), u64(1000), u64(500), u64(400))
        return framed(Packet.EXTENDED_REPLY, u32(number) + b"".join(fields) + u64(0) * 3)

    line = FarLine(answer, hello((b"statvfs@openssh.com", b"2")))
    session = Session(line, "nas", 0.2)
    assert space(session, "/there/new/deeper") == (4 * 4096, 400)  # of the nearest folder that is there
    assert line.turns == 1


def test_an_answer_to_no_question_breaks_the_session(line, session):
    line.says(status(4711))
    with pytest.raises(Broken, match="was not asked"):
        session.ask(Packet.LSTAT, string(b"/"))


def test_a_silent_host_is_broken_after_the_timeout_and_a_lost_line_at_once_and_for_ever(line, session):
    with pytest.raises(Broken, match=r"no answer for 0\.2 s"):
        session.ask(Packet.LSTAT, string(b"/"))
    line.ends()
    for _ in range(2):
        with pytest.raises(Broken, match="connection was lost"):
            session.ask(Packet.LSTAT, string(b"/"))


def test_a_handle_that_nobody_wants_any_more_is_closed_when_it_comes(line, session):
    unwanted, wanted = session.send(Packet.OPEN, string(b"/a")), session.send(Packet.LSTAT, string(b"/b"))
    session.close_opened(unwanted)
    line.says(framed(Packet.HANDLE, u32(unwanted) + string(b"H")) + status(wanted))
    session.take(wanted)
    assert line.requests[-1][0] == Packet.CLOSE


def test_forgotten_answers_take_no_memory(line, session):
    for _ in range(5):
        session.forget(session.send(Packet.LSTAT, string(b"/")))
    wanted = session.send(Packet.LSTAT, string(b"/"))
    line.says(b"".join(status(number) for number in range(1, wanted + 1) if number != session.home_asked))
    session.take(wanted)
    assert (session._answers, len(session._asked)) == ({}, 1)


def test_requests_of_two_threads_get_numbers_of_their_own(line, session):
    threads = [
        threading.Thread(target=lambda: [session.send(Packet.STAT, string(b"x")) for _ in range(2000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.flush()
    numbers = [number for kind, number in line.requests if kind == Packet.STAT]
    assert len(numbers) == len(set(numbers)) == 8000


def test_the_size_of_what_was_written_comes_with_the_last_answers():
    def answer(kind: int, number: int) -> bytes:
        return framed(Packet.ATTRS, u32(number) + u32(1) + u64(3)) if kind == Packet.FSTAT else status(number)

    line = FarLine(answer, hello())
    info = FileInfo("/out", "file", size_bytes=3)
    assert write(Session(line, "nas", 0.2), "/out", string(b"handle"), 0, [b"abc"], info) == 3
    assert line.turns == 1
    assert [kind for kind, _ in line.requests][-2:] == [Packet.FSTAT, Packet.CLOSE]


def test_a_host_that_tells_no_size_has_written_all_the_same():
    def answer(kind: int, number: int) -> bytes:
        return status(number, Status.UNSUPPORTED if kind == Packet.FSTAT else Status.OK)

    session = Session(FarLine(answer, hello()), "nas", 0.2)
    assert write(session, "/out", string(b"handle"), 0, [b"abc"], FileInfo("/out", "file", size_bytes=3)) is None
