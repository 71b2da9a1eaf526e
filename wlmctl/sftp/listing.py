"""What lies in folders: several are read at once, each by several requests, so that a long line costs little."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from wlmctl.sftp.answers import Answer
from wlmctl.sftp.faults import check, error_for, status
from wlmctl.sftp.many import link_text, seen, with_targets
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Attributes, Packet, Reader, Status, decode, encode, string
from wlmctl.transport import FileInfo

#: Folders that are open at once.
_FOLDERS = 32
#: Requests for more entries of one folder: two at first (entries, and their end), then four times as many each time.
_FIRST, _MOST = 2, 32
#: Entries that may wait for the texts of their symlinks; and such texts that are asked for ahead, of one folder.
_HELD, _LINKS_AHEAD = 5_000, 100


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
    listed: deque[_Listed] = deque()
    held = 0
    try:
        for below in group:
            path = join(folder, below).rstrip("/") or "/"
            opening.append((_open(session, path), path))
        for below in group:
            while opening and _begin(session, opening, reading):
                pass
            found = [(below + name, attributes) for name, attributes in reading[0].entries()]
            session.forget(session.send(Packet.CLOSE, reading.popleft().handle))
            listed.append(_Listed(session, folder, found))
            held += len(found)
            while held > _HELD:
                held -= len(listed[0].found)
                yield listed.popleft().completed()
        while listed:
            yield listed.popleft().completed()
    finally:
        for left in listed:
            left.drop()
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
    return max(1, min(_FOLDERS, session.limits.handles // 2))


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
            if not self._flying and not is_at_end:
                self._most = min(4 * self._most, _MOST)
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


class _Listed:
    """The entries of a folder, while what a listing does not say is under way: the text of symlinks.

    And all of an entry where the server gives names only.
    """

    def __init__(self, session: Session, folder: str, found: Sequence[tuple[str, Attributes]]) -> None:
        self._session, self._folder, self.found = session, folder, found
        self._infos = {path: attributes.info(path) for path, attributes in found if attributes.mode is not None}
        links = [info for info in self._infos.values() if info.kind == "symlink"]
        # More would fill the line both ways before anybody takes an answer.
        self._later = links[_LINKS_AHEAD:]
        self._asked = [(info, session.send(Packet.READLINK, self._whole(info.path))) for info in links[:_LINKS_AHEAD]]

    def completed(self) -> list[FileInfo]:
        """All entries, sorted."""
        session, infos = self._session, self._infos
        while self._asked:
            info, number = self._asked.pop(0)
            text = link_text(session, join(self._folder, info.path), session.take(number))
            infos[info.path] = replace(info, target=text)
        links = [(join(self._folder, info.path), info) for info in self._later]
        infos.update((info.path, info) for info in with_targets(session, links))
        for path, attributes in self.found:
            if attributes.mode is None:
                there = seen(session, join(self._folder, path), session.ask(Packet.LSTAT, self._whole(path)))
                if there is not None:
                    infos[path] = replace(there, path=path)
        return [infos[path] for path in sorted(infos)]

    def drop(self) -> None:
        """Forget what is under way."""
        for _, number in self._asked:
            self._session.forget(number)

    def _whole(self, path: str) -> bytes:
        return string(encode(join(self._folder, path)))
