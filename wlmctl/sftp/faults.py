"""What a refusal of the server means, as one of the transport's errors."""

from __future__ import annotations

from collections.abc import Iterator

from wlmctl.errors import Broken, Denied, NoSpace, NotFound, TransportError
from wlmctl.sftp.answers import Answer
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Packet, Reader, Status, decode, encode, string

_VFS = b"statvfs@openssh.com"
#: A write of one request does not fit any more.
_FULL_BYTES = 256 * 1024


def status(answer: Answer) -> tuple[int, str]:
    """The code and the text of a STATUS answer."""
    fields = Reader(answer.body)
    code = fields.u32()
    return code, "" if fields.is_at_end else decode(fields.string())


def check(session: Session, answer: Answer, path: str, expected: Packet = Packet.STATUS) -> Answer:
    """``answer`` itself when it is the expected one (for STATUS: OK), else the error it stands for, raised."""
    if answer.is_ok and expected is Packet.STATUS:
        return answer
    if answer.kind != Packet.STATUS:
        if answer.kind == expected:
            return answer
        raise Broken(f"{path}: an answer of type {answer.kind}, expected {expected.name}")
    code, text = status(answer)
    raise error_for(session, code, text, path)


def check_write(session: Session, answer: Answer, path: str) -> None:
    """Like ``check``, of a write: a failure that is no lack of space is worth another try."""
    if answer.kind == Packet.STATUS and not answer.is_ok:
        code, text = status(answer)
        if code == Status.FAILURE and not is_full(session, path):
            raise Broken(f"{path}: the host could not write it: {text}")
    check(session, answer, path)


def error_for(session: Session, code: int, text: str, path: str) -> TransportError:
    """The error that a STATUS code stands for."""
    match code:
        case Status.NO_SUCH_FILE:
            return NotFound(f"{path}: no such file or folder")
        case Status.PERMISSION_DENIED:
            return Denied(f"{path}: permission denied")
        case Status.FAILURE:  # the only word that version 3 has for a full disk, too
            if is_full(session, path):
                return NoSpace(f"{path}: no space left on the host")
            return Denied(f"{path}: the host refused it: {text}")
        case Status.BAD_MESSAGE | Status.UNSUPPORTED:
            return Denied(f"{path}: the host refused it (name too long, or not supported): {text}")
        case _:
            return Broken(f"{path}: {text or 'the host ended the request'} (SFTP status {code})")


def is_full(session: Session, path: str) -> bool:
    """True when the file system of ``path`` is proven to have no room for a byte block or for a file."""
    room = space(session, path)
    return room is not None and (room[0] < _FULL_BYTES or room[1] == 0)


def space(session: Session, path: str) -> tuple[int, int | None] | None:
    """Bytes and files that still fit on the file system of ``path`` or of its nearest parent; None: cannot be told."""
    if not session.offers(_VFS, b"2"):
        return None
    asked = [session.send(Packet.EXTENDED, string(_VFS), string(encode(each))) for each in _up_from(path)]
    answers = [session.take(number) for number in asked]  # of all of them, after one wait
    answer = next((each for each in answers if each.kind == Packet.EXTENDED_REPLY), None)
    if answer is None:
        return None
    fields = Reader(answer.body)
    _, block_bytes, _, _, blocks, all_files, _, files = (fields.u64() for _ in range(8))
    return blocks * block_bytes, files if all_files else None  # btrfs counts no files


def _up_from(path: str) -> Iterator[str]:
    """``path``, and the folders above it up to the root."""
    while path not in ("/", ""):
        yield path
        path = path.rstrip("/").rpartition("/")[0]
    yield "/"
