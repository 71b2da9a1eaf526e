"""The contents of the files of many jobs: by one command where there is a login, each by itself on this host."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from wlmctl.errors import Broken, Denied, NotFound, TransportError, Unreachable
from wlmctl.quantities import format_size
from wlmctl.transport import Runs, Spawns, Transport

#: A file may be larger than the value that is taken from it, within reason.
FILE_BYTES = 16 * 1024**2
#: About so much is read and worked on at a time.
ROUND_BYTES = 32 * 1024**2
READ_TIMEOUT_S = 300.0

#: By path the content of a file, or why there is none.
Files = Mapping[str, bytes | str]

_ABSENT = "there is no such file; the job was expected to write it"
_LARGE = f"is larger than {format_size(FILE_BYTES)}"

# A listing of its folder makes a network file system look again for a file that it believes to be absent.
_READ = """
total=0
read_file() {
  printf '\\n%s %s ' "$mark" "$1"
  [ -e "$2" ] || ls -a -- "${2%/*}/" >/dev/null 2>&1
  if [ ! -e "$2" ]; then echo absent
  elif [ ! -f "$2" ] || [ ! -r "$2" ]; then echo unreadable
  elif size=$(wc -c <"$2") && [ "$size" -gt "$most" ]; then echo large
  else echo here; head -c "$most" -- "$2"; total=$((total + size)); fi
}
"""


def contents(wanted: Mapping[str, Sequence[str]], transport: Transport) -> Iterator[Mapping[str, Files]]:
    """The files that each job names by absolute paths, some jobs at a time, in order.

    ``Unreachable`` or ``Broken`` where the machine does not tell.
    """
    if isinstance(transport, Spawns) or not isinstance(transport, Runs):
        yield from _one_by_one(wanted, transport)
        return
    left = dict(wanted)
    while left:
        some = _by_command(left, transport)
        for job in some:
            del left[job]
        yield some


def _one_by_one(wanted: Mapping[str, Sequence[str]], transport: Transport) -> Iterator[Mapping[str, Files]]:
    some: dict[str, Files] = {}
    total = 0
    for job, paths in wanted.items():
        some[job] = files = {path: _content(path, transport) for path in dict.fromkeys(paths)}
        total += sum(map(len, files.values()))
        if total >= ROUND_BYTES:
            yield some
            some, total = {}, 0
    if some:
        yield some


def _content(path: str, transport: Transport) -> bytes | str:
    found = bytearray()
    try:
        for chunk in transport.read(path):
            found += chunk
            if len(found) > FILE_BYTES:
                return _LARGE
    except NotFound:
        return _ABSENT
    except Denied as error:
        return f"cannot be read: {error}"
    except (Unreachable, Broken):
        raise
    except TransportError as error:
        return f"cannot be read: {error}"
    return bytes(found)


def _by_command(wanted: Mapping[str, Sequence[str]], runs: Runs) -> dict[str, Files]:
    """Of the first job all, of those behind it as many as come with it."""
    mark, paths, lines = secrets.token_hex(16), list[str](), list[str]()
    for job in wanted:
        if lines:
            lines.append(f'[ "$total" -ge {ROUND_BYTES} ] && finish\n')
        for path in dict.fromkeys(wanted[job]):
            lines.append(f"read_file {len(paths)} {quote(path)}\n")
            paths.append(path)
    finish = "finish() { printf '\\n%s end\\n' \"$mark\"; exit 0; }\n"
    text = f"mark={mark} most={FILE_BYTES}\n{_READ}{finish}{''.join(lines)}finish\n"
    completed = runs.run("exec sh", text.encode("utf-8", "surrogateescape"), READ_TIMEOUT_S)
    _, *pieces = completed.stdout.split(b"\n" + mark.encode() + b" ")
    if completed.exit_code != 0 or not pieces or pieces.pop() != b"end\n":
        raise Broken(f"the files of its outputs were not told whole (exit code {completed.exit_code})")
    told = [_told(piece) for piece in pieces]
    some: dict[str, Files] = {}
    for job, own in wanted.items():
        names = list(dict.fromkeys(own))
        if len(told) < len(names) or not told:
            break
        some[job] = dict(zip(names, told, strict=False))
        del told[: len(names)]
    return some


def _told(piece: bytes) -> bytes | str:
    head, _, content = piece.partition(b"\n")
    match re.sub(rb"^\d+ ", b"", head):
        case b"here":
            return content
        case b"absent":
            return _ABSENT
        case b"large":
            return _LARGE
    return "cannot be read: it is no file, or there is no permission"
