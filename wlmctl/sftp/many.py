"""Many small requests about names in flight at once, their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from wlmctl.errors import Denied
from wlmctl.sftp.answers import Answer
from wlmctl.sftp.faults import check, error_for, status
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Packet, Reader, Status, decode, encode, string
from wlmctl.transport import FileInfo

#: Requests without content under way: little on the line, and few enough for servers that queue them.
_DEPTH = 128
POSIX_RENAME = b"posix-rename@openssh.com"


def pipelined(session: Session, requests: Iterable[tuple[Packet, Sequence[bytes]]]) -> Iterator[Answer]:
    """The answer to each request, in order; those still under way when it is abandoned are dropped."""
    flying: deque[int] = deque()
    try:
        for kind, fields in requests:
            flying.append(session.send(kind, *fields))
            if len(flying) >= _DEPTH:  # the half of them: so that the next ones go out together, too
                session.wait_for(flying[len(flying) - _DEPTH // 2 - 1])
                while len(flying) > _DEPTH // 2:
                    yield session.take(flying.popleft())
        while flying:
            yield session.take(flying.popleft())
    finally:
        for number in flying:
            session.forget(number)


def stat_many(session: Session, paths: Sequence[str]) -> Iterator[FileInfo | None]:
    """What is at each path, in order; None where there is nothing."""
    answers = pipelined(session, ((Packet.LSTAT, [string(encode(path))]) for path in paths))
    for path, answer in zip(paths, answers, strict=True):
        yield seen(session, path, answer)


def seen(session: Session, path: str, answer: Answer) -> FileInfo | None:
    """What an answer to STAT or LSTAT says of ``path``."""
    if answer.kind == Packet.STATUS:
        code, text = status(answer)
        if code == Status.NO_SUCH_FILE:
            return None
        raise error_for(session, code, text, path)
    info = Reader(check(session, answer, path, Packet.ATTRS).body).attributes().info(path)
    return info if info.kind != "symlink" else next(with_targets(session, [(path, info)]))


def with_targets(session: Session, links: Sequence[tuple[str, FileInfo]]) -> Iterator[FileInfo]:
    """Each symlink, given with its whole path, with its text."""
    answers = pipelined(session, ((Packet.READLINK, [string(encode(path))]) for path, _ in links))
    for (path, info), answer in zip(links, answers, strict=True):
        yield replace(info, target=link_text(session, path, answer))


def link_text(session: Session, path: str, answer: Answer) -> str:
    """The text of a symlink, from the answer to READLINK."""
    if answer.kind == Packet.STATUS and status(answer)[0] in (Status.FAILURE, Status.BAD_MESSAGE):
        raise Denied(f"{path}: is not a symlink")
    fields = Reader(check(session, answer, path, Packet.NAME).body)
    fields.u32()
    return decode(fields.string())


def rename_many(session: Session, pairs: Sequence[tuple[str, str]]) -> None:
    """Rename each, replacing what is there; needs the server's posix-rename."""
    requests = (
        (Packet.EXTENDED, [string(POSIX_RENAME), string(encode(source)), string(encode(destination))])
        for source, destination in pairs
    )
    for (source, destination), answer in zip(pairs, pipelined(session, requests), strict=True):
        check(session, answer, f"{source} -> {destination}")


def remove_many(session: Session, paths: Sequence[str], kind: Packet) -> None:
    """Remove all files (REMOVE) or folders (RMDIR); one that is not there is no error."""
    answers = pipelined(session, ((kind, [string(encode(path))]) for path in paths))
    for path, answer in zip(paths, answers, strict=True):
        if answer.kind != Packet.STATUS or status(answer)[0] != Status.NO_SUCH_FILE:
            check(session, answer, path)
