"""The SCP protocol with ``scp -f`` (they send) and ``scp -t`` (they receive) on the far side.

Own code beside the ``scp`` package, whose ``get`` writes only to a local file, whose ``putfo`` cannot send times, and
which loops for ever when the source shrinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wlmctl.errors import Broken, Denied
from wlmctl.ssh.quoting import quote, words
from wlmctl.ssh.shell_files import checked, error_for
from wlmctl.ssh.transport import SshTransport
from wlmctl.transport import CHUNK_BYTES, FileInfo
from wlmctl_transport_scp.batching import batches, share
from wlmctl_transport_scp.stream import Stream


def read(ssh: SshTransport, path: str) -> Iterator[bytes]:
    """The file's bytes, as many as it had when the far side opened it; ``Broken`` when they are no longer there."""
    with Stream(ssh, f"exec scp -p -f -- {quote(path)}", path) as stream:
        stream.send(_acks(1))
        left = size_bytes = _header(stream, path)
        while left:
            data = stream.some(min(left, CHUNK_BYTES))
            left -= len(data)
            yield data
        _expect_whole(stream, path)
    if not size_bytes:
        _expect_empty(ssh, [path])


def read_many(ssh: SshTransport, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The content of each path, in order, many by one command."""
    for batch in batches(paths, share):
        with Stream(ssh, f"exec {words(['scp', '-p', '-f', '--', *batch])}", batch[0]) as stream:
            stream.send(_acks(len(batch)))
            empty = []
            for path in batch:
                size_bytes = _header(stream, path)
                if size_bytes > CHUNK_BYTES:
                    raise Broken(f"{path}: has grown to {size_bytes} bytes while it was read")
                content = stream.exactly(size_bytes)
                _expect_whole(stream, path)
                if not content:
                    empty.append(path)
                yield path, content
        if empty:
            _expect_empty(ssh, empty)


def write(ssh: SshTransport, path: str, chunks: Iterable[bytes], info: FileInfo) -> int | None:
    """Create or replace the file, with its mode and times; returns the size that it has then."""
    # Into a folder scp would put it under a name of its own.
    guard = f'p={quote(path)}; if [ -d "$p" ]; then echo "is a folder" >&2; exit 1; fi'
    script = f'{guard}; scp -p -t -- "$p" && {{ wc -c <"$p" || :; }}'
    with Stream(ssh, script, path, _header_of("file", info)) as stream:
        _expect_ok(stream, path)
        _send_content(stream, path, chunks, info)
        stream.send_end()  # not only after the answer: a wait less
        _expect_ok(stream, path)
        told = b"".join(stream.rest()).strip()
    return int(told) if told.isdigit() else None


def write_many(ssh: SshTransport, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
    """Write each file; one after the other by the same command where they follow one another in one folder."""
    stream: Stream | None = None
    current = ""
    try:
        for path, content, info in files:
            folder, _, name = path.rpartition("/")
            if "\n" in name:  # scp would store it as "\^J"
                write(ssh, path, [content], info)
                continue
            if stream is None or folder != current:
                if stream is not None:
                    stream.end()
                    stream.close()
                stream, current = Stream(ssh, f"exec scp -p -d -t -- {quote(folder or '/')}", path), folder
                _expect_ok(stream, path)
            stream.send(_header_of(name, info))
            _send_content(stream, path, [content], info)
            _expect_ok(stream, path)
        if stream is not None:
            stream.end()
    finally:
        if stream is not None:
            stream.close()


def _header_of(name: str, info: FileInfo) -> bytes:
    seconds = max(int(info.mtime_s), 0)
    times = f"T{seconds} 0 {seconds} 0\n"
    header = f"C{info.mode & 0o7777:04o} {info.size_bytes} {name}\n"
    return (times + header).encode("utf-8", "surrogateescape")


def _send_content(stream: Stream, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
    """The bytes that were announced, and the mark behind them."""
    # Not a byte of content before both are accepted: scp would take it for commands.
    _expect_ok(stream, path)
    _expect_ok(stream, path)
    sent = 0
    for chunk in chunks:
        sent += len(chunk)
        if sent > info.size_bytes:
            raise Broken(f"{path}: more than the {info.size_bytes} bytes that were announced: the source grew")
        stream.send(chunk)
    if sent != info.size_bytes:
        raise Broken(f"{path}: {sent} bytes, {info.size_bytes} were announced: the source shrank")
    stream.send(b"\0")


def _acks(files: int) -> bytes:
    """All that we shall say about so many files, said ahead: three waits less for each."""
    return b"\0" * (3 * files + 1)


def _header(stream: Stream, path: str) -> int:
    """The size that the far side announces."""
    while True:
        line = stream.line()
        kind, rest = line[:1], line[1:]
        if kind == b"C":
            try:
                return int(rest.split(b" ")[1])
            except (IndexError, ValueError) as error:
                raise Broken(f"{path}: scp announces {line!r}") from error
        if kind != b"T":
            raise error_for(path, _text(rest) if kind in (b"\1", b"\2") else f"scp says {line!r}")


def _expect_whole(stream: Stream, path: str) -> None:
    """What was read counts only when the far side says that it could read it to the end."""
    if stream.exactly(1) != b"\0":
        raise Broken(f"{path}: changed while it was read: {_text(stream.line())}")


def _expect_empty(ssh: SshTransport, paths: Sequence[str]) -> None:
    """Files of /proc and the like say that they are empty and are not: scp would deliver nothing of them, silently."""
    has_content = '{ IFS= read -r line || [ -n "$line" ]; } < "$p" 2>/dev/null'
    count = f"i=0; for p do line=; if {has_content}; then echo $i; break; fi; i=$((i+1)); done"
    found = checked(ssh, paths[0], f"set -- {words(paths)}; {count}").strip()
    if found:
        raise Denied(f"{paths[int(found)]}: says that it is empty and is not, as files of /proc do")


def _expect_ok(stream: Stream, path: str) -> None:
    first = stream.exactly(1)
    if first != b"\0":
        text = stream.line()
        raise error_for(path, _text(text if first in (b"\1", b"\2") else first + text))


def _text(message: bytes) -> str:
    return message.decode("utf-8", "replace").strip().removeprefix("scp: ")
