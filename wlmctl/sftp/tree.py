"""Folders over SFTP, made and removed; and what is at a path."""

from __future__ import annotations

from collections.abc import Sequence

from wlmctl.errors import Denied
from wlmctl.sftp.faults import check, status
from wlmctl.sftp.listing import at_once, join, list_folders
from wlmctl.sftp.many import pipelined, remove_many, seen
from wlmctl.sftp.session import Session
from wlmctl.sftp.wire import Packet, Status, attributes, encode, string
from wlmctl.transport import FileInfo


def look(session: Session, path: str, follow: bool) -> FileInfo | None:
    """What is at ``path``, or None."""
    return seen(session, path, session.ask(Packet.STAT if follow else Packet.LSTAT, string(encode(path))))


def make_folders(session: Session, path: str, mode: int) -> None:
    """Make ``path`` and its missing parents; what is there is noticed only when it cannot be made."""
    missing = [path.rstrip("/") or "/"]
    settled: set[str] = set()
    while missing:
        folder = missing[-1]
        answer = session.ask(Packet.MKDIR, string(encode(folder)), attributes(mode))
        code = status(answer)[0] if answer.kind == Packet.STATUS else None
        parent = folder.rpartition("/")[0] or "/"
        if code == Status.NO_SUCH_FILE and parent not in {folder, *settled}:
            missing.append(parent)
            continue
        if code != Status.OK:
            there = look(session, folder, follow=True)
            if there is None:
                check(session, answer, folder)
            elif there.kind != "directory":
                raise Denied(f"{folder}: is there, and is not a folder")
        settled.add(missing.pop())


def make_many_folders(session: Session, folders: Sequence[tuple[str, int]]) -> None:
    """Make each (path, mode), all of them asked for at once; what could not be made so is made by itself."""
    requests = ((Packet.MKDIR, [string(encode(path)), attributes(mode)]) for path, mode in folders)
    answers = pipelined(session, requests)
    unmade = [
        folder
        for folder, answer in zip(folders, answers, strict=True)
        if answer.kind != Packet.STATUS or status(answer)[0] != Status.OK
    ]
    for path, mode in unmade:
        make_folders(session, path, mode)


def remove(session: Session, path: str) -> None:
    """Remove what is at ``path``, with all below it; nothing there is no error."""
    there = look(session, path, follow=False)
    if there is None:
        return
    if there.kind != "directory":
        remove_many(session, [path], Packet.REMOVE)
        return
    folders = [path]
    waiting = [""]
    while waiting:
        group, waiting = waiting[: at_once(session)], waiting[at_once(session) :]
        files: list[str] = []
        for entries in list_folders(session, path, group):
            files += [join(path, entry.path) for entry in entries if entry.kind != "directory"]
            deeper = [entry.path for entry in entries if entry.kind == "directory"]
            folders += [join(path, name) for name in deeper]
            waiting += [name + "/" for name in deeper]
        remove_many(session, files, Packet.REMOVE)
    # Those deeper down first.
    remove_many(session, sorted(folders, key=lambda name: -name.count("/")), Packet.RMDIR)
