"""What lies in folders: several are read at once, each by several requests, so that a long line costs little."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wlmctl.sftp.answers import Answer
from wlmctl.sftp.faults import check, error_for, status
from wlmctl.sftp.many import seen, with_targets
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Attributes, Packet, Reader, Status, decode, encode, string
from wlmctl.transport import FileInfo

#: Folders that are open at once.
_FOLDERS = 32
#: Requests for more entries of one folder: two at first (entries, and their end), twice as many each time.
_FIRST, _MOST = 2, 32


def walk(session: Session, folder: str) -> Iterator[FileInfo]:
    """Everything below ``folder``, a folder before its content; symlinks are not followed."""
    waiting = [""]
    while waiting:
        group = [waiting.pop() for _ in range(min(len(waiting), at_once(session)))]
        deeper = []
        for entries in list_folders(session, folder, group):
            for info in entries:
                yield info
                if info.kind == "directory":
                    deeper.append(info.path + "/")
        waiting += reversed(deeper)


def list_folders(session: Session, folder: str, group: Sequence[str]) -> Iterator[list[FileInfo]]:
    """The entries of each folder of ``group`` (paths below ``folder``, each empty or with a final slash), sorted.

    Their paths are relative to ``folder``.
    """
    opening: deque[tuple[int, str]] = deque()
    reading: deque[_Reading] = deque()
    try:
        for below in group:
            path = join(folder, below).rstrip("/") or "/"
            opening.append((_open(session, path), path))
        for below in group:
            while opening and _begin(session, opening, reading):
                pass
            found = [(below + name, attributes) for name, attributes in reading[0].entries()]
            session.forget(session.send(Packet.CLOSE, reading.popleft().handle))
            yield _completed(session, folder, found)
    finally:
        for number, _ in opening:
            session.close_opened(number)
        session.release(*(unread.dropped() for unread in reading))


def _open(session: Session, path: str) -> int:
    return session.send(Packet.OPENDIR, string(encode(path)))


def _begin(session: Session, opening: deque[tuple[int, str]], reading: deque[_Reading]) -> bool:
    """Ask for the entries of the folder that is opened next; False: others must be closed before."""
    number, path = opening[0]
    answer = session.take(number)
    if answer.kind == Packet.STATUS and status(answer)[0] == Status.FAILURE and reading:
        # Perhaps the host has too many folders open.
        opening[0] = _open(session, path), path
        return False
    opened = check(session, answer, path, Packet.HANDLE)
    opening.popleft()
    reading.append(_Reading(session, path, string(Reader(opened.body).string())))
    return True


def at_once(session: Session) -> int:
    """How many folders ``list_folders`` may be given."""
    return max(1, min(_FOLDERS, session.handles // 2))


def join(folder: str, name: str) -> str:
    """``name`` below ``folder``."""
    return f"{folder.rstrip('/')}/{name}" if name else folder


class _Reading:
    """An open folder with requests for its entries under way."""

    def __init__(self, session: Session, path: str, handle: bytes) -> None:
        self._session, self._path, self.handle = session, path, handle
        self._flying: deque[int] = deque()
        self._most = _FIRST
        self._ask()

    def entries(self) -> Iterator[tuple[str, Attributes]]:
        """Its entries but for itself and its parent."""
        is_at_end = False
        # To the last answer: a server may have worked on several requests at a time.
        while self._flying:
            answer = self._session.take(self._flying.popleft())
            if answer.kind == Packet.STATUS:
                code, text = status(answer)
                if code != Status.EOF:
                    raise error_for(self._session, code, text, self._path)
                is_at_end = True
            else:
                yield from self._named(answer)
                if not is_at_end:
                    self._most = min(2 * self._most, _MOST)
                    self._ask()

    def dropped(self) -> bytes:
        """Its handle, when nobody wants its entries any more."""
        for number in self._flying:
            self._session.forget(number)
        return self.handle

    def _ask(self) -> None:
        while len(self._flying) < self._most:
            self._flying.append(self._session.send(Packet.READDIR, self.handle))

    def _named(self, answer: Answer) -> Iterator[tuple[str, Attributes]]:
        fields = Reader(check(self._session, answer, self._path, Packet.NAME).body)
        for _ in range(fields.u32()):
            name = decode(fields.string())
            fields.string()  # the line that ls would show
            attributes = fields.attributes()
            if name not in (".", ".."):
                yield name, attributes


def _completed(session: Session, folder: str, found: Sequence[tuple[str, Attributes]]) -> list[FileInfo]:
    """With what a listing does not say: the text of symlinks, and all of an entry where the server gives names only."""
    infos = {path: attributes.info(path) for path, attributes in found if attributes.mode is not None}
    for path, attributes in found:
        if attributes.mode is None:
            whole = join(folder, path)
            there = seen(session, whole, session.ask(Packet.LSTAT, string(encode(whole))))
            if there is not None:
                infos[path] = replace(there, path=path)
    links = [(join(folder, path), info) for path, info in infos.items() if info.kind == "symlink" and not info.target]
    infos.update((info.path, info) for info in with_targets(session, links))
    return [infos[path] for path in sorted(infos)]
