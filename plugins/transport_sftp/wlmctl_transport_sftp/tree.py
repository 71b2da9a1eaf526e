"""Folders over SFTP: listing, making and removing them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from wlmctl.errors import Denied
from wlmctl.transport import FileInfo
from wlmctl_transport_sftp.faults import check, error_for, status
from wlmctl_transport_sftp.session import Session
from wlmctl_transport_sftp.wire import Packet, Reader, Status, attributes, decode, encode, string

_DEPTH = 32


def look(session: Session, path: str, follow: bool) -> FileInfo | None:
    """What is at ``path``, or None."""
    answer = session.ask(Packet.STAT if follow else Packet.LSTAT, string(encode(path)))
    if answer.kind == Packet.STATUS:
        code, text = status(answer)
        if code == Status.NO_SUCH_FILE:
            return None
        raise error_for(session, code, text, path)
    info = Reader(check(session, answer, path, Packet.ATTRS).body).attributes().info(path)
    if info.kind != "symlink":
        return info
    return FileInfo(path, "symlink", 0, info.mode, info.mtime_s, None, read_link(session, path))


def read_link(session: Session, path: str) -> str:
    """The text of a symlink."""
    answer = session.ask(Packet.READLINK, string(encode(path)))
    if answer.kind == Packet.STATUS and status(answer)[0] in (Status.FAILURE, Status.BAD_MESSAGE):
        raise Denied(f"{path}: is not a symlink")
    fields = Reader(check(session, answer, path, Packet.NAME).body)
    fields.u32()
    return decode(fields.string())


def walk(session: Session, folder: str) -> Iterator[FileInfo]:
    """Everything below ``folder``, a folder before its content, by name; symlinks are not followed."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        folders = []
        for info in list_folder(session, folder, below):
            yield info
            if info.kind == "directory":
                folders.append(info.path + "/")
        waiting += reversed(folders)


def list_folder(session: Session, folder: str, below: str) -> list[FileInfo]:
    """The entries of ``folder``/``below``, their paths relative to ``folder``."""
    path = join(folder, below).rstrip("/") or "/"
    opened = check(session, session.ask(Packet.OPENDIR, string(encode(path))), path, Packet.HANDLE)
    handle = string(Reader(opened.body).string())
    found: list[FileInfo] = []
    try:
        while True:
            answer = session.ask(Packet.READDIR, handle)
            if answer.kind == Packet.STATUS:
                code, text = status(answer)
                if code == Status.EOF:
                    break
                raise error_for(session, code, text, path)
            fields = Reader(check(session, answer, path, Packet.NAME).body)
            for _ in range(fields.u32()):
                name = decode(fields.string())
                fields.string()  # the line that ls would show
                seen = fields.attributes()
                if name in (".", ".."):
                    continue
                if seen.mode is None:
                    there = look(session, join(folder, below + name), follow=False)
                    found += [] if there is None else [_at(below + name, there)]
                else:
                    found.append(seen.info(below + name))
    finally:
        session.release(handle)
    return sorted((_with_target(session, folder, info) for info in found), key=lambda info: info.path)


def make_folders(session: Session, path: str, mode: int) -> None:
    """Make ``path`` and its missing parents."""
    missing: list[str] = []
    path = path.rstrip("/") or "/"
    while (there := look(session, path, follow=True)) is None:
        missing.append(path)
        path = path.rpartition("/")[0] or "/"
    if there.kind != "directory":
        raise Denied(f"{path}: is there, and is not a folder")
    for folder in reversed(missing):
        answer = session.ask(Packet.MKDIR, string(encode(folder)), attributes(mode))
        if answer.kind == Packet.STATUS and status(answer)[0] == Status.OK:
            continue
        made = look(session, folder, follow=True)  # someone else may have been faster
        if made is None or made.kind != "directory":
            check(session, answer, folder)


def remove(session: Session, path: str) -> None:
    """Remove what is at ``path``, with all below it; nothing there is no error."""
    there = look(session, path, follow=False)
    if there is None:
        return
    if there.kind != "directory":
        _remove_all(session, [path], Packet.REMOVE)
        return
    folders = [path]
    waiting = [""]
    while waiting:
        below = waiting.pop()
        entries = list_folder(session, path, below)
        _remove_all(session, [join(path, e.path) for e in entries if e.kind != "directory"], Packet.REMOVE)
        deeper = [entry.path for entry in entries if entry.kind == "directory"]
        folders += [join(path, name) for name in deeper]
        waiting += [name + "/" for name in deeper]
    # Those deeper down first.
    _remove_all(session, sorted(folders, key=lambda name: -name.count("/")), Packet.RMDIR)


def join(folder: str, name: str) -> str:
    """``name`` below ``folder``."""
    return f"{folder.rstrip('/')}/{name}" if name else folder


def _remove_all(session: Session, paths: list[str], kind: Packet) -> None:
    flying: deque[tuple[int, str]] = deque()
    for path in [*paths, None]:
        if path is not None:
            flying.append((session.send(kind, string(encode(path))), path))
        while flying and (path is None or len(flying) >= _DEPTH):
            number, removed = flying.popleft()
            answer = session.take(number)
            if answer.kind != Packet.STATUS or status(answer)[0] != Status.NO_SUCH_FILE:
                try:
                    check(session, answer, removed)
                except BaseException:
                    for left, _ in flying:
                        session.forget(left)
                    raise


def _with_target(session: Session, folder: str, info: FileInfo) -> FileInfo:
    if info.kind != "symlink" or info.target is not None:
        return info
    target = read_link(session, join(folder, info.path))
    return FileInfo(info.path, "symlink", 0, info.mode, info.mtime_s, None, target)


def _at(path: str, info: FileInfo) -> FileInfo:
    return FileInfo(path, info.kind, info.size_bytes, info.mode, info.mtime_s, info.inode, info.target)
