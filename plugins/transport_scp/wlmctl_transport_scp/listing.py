"""What is at a path and below it, by POSIX ``find`` and ``ls`` and, where there is one, a ``stat`` of either dialect.

Names travel between NUL bytes, apart from what is known of them, so that any name survives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from wlmctl.errors import Broken
from wlmctl.ssh.quoting import quote, words
from wlmctl.transport import FileInfo, Kind

#: Prints, for each of the arguments, one line: type and permissions, size, mtime in seconds, device:inode.
_LOOKS = {
    "gnu": 'stat -c "%f %s %Y %d:%i" -- "$@"',  # busybox has it, too
    "bsd": 'stat -f "%Xp %z %m %d:%i" -- "$@"',
    # POSIX has no command that prints seconds. scp says them before it sends a file; told "no" then, it sends nothing.
    "": """
nl="
"
for f do
  l=$(ls -ldn -- "$f") || exit 1
  t=
  if [ -f "$f" ] && [ ! -L "$f" ]; then
    t=$(printf "\\000\\000\\001x\\n" | scp -p -f -- "$f" 2>/dev/null | sed -n "1s/^T\\([0-9]*\\) .*/\\1/p")
  fi
  printf "ls %s %s\\n" "${t:-0}" "${l%%"$nl"*}"
done""",
}
_FOLLOWING = {
    "gnu": 'stat -L -c "%f %s %Y %d:%i" -- "$@"',
    "bsd": 'stat -L -f "%Xp %z %m %d:%i" -- "$@"',
    "": _LOOKS[""].replace("ls -ldn", "ls -ldnL").replace(' && [ ! -L "$f" ]', ""),
}
#: The text of each symlink among the arguments, with a mark behind it that keeps a final newline.
_LINKS = 'for f do if [ -L "$f" ]; then t=$(readlink -- "$f"; echo x); printf "%s\\0" "$t"; fi; done'
_MODES: tuple[dict[str, int], ...] = (
    {"r": 0o400},
    {"w": 0o200},
    {"x": 0o100, "s": 0o4100, "S": 0o4000},
    {"r": 0o040},
    {"w": 0o020},
    {"x": 0o010, "s": 0o2010, "S": 0o2000},
    {"r": 0o004},
    {"w": 0o002},
    {"x": 0o001, "t": 0o1001, "T": 0o1000},
)
_KINDS: dict[str, Kind] = {"-": "file", "d": "directory", "l": "symlink"}
_KIND_BITS: dict[int, Kind] = {0o100000: "file", 0o040000: "directory", 0o120000: "symlink"}
_CHANGED = "the folder changed while it was listed"
_LINE = re.compile(r"([0-9a-fA-F]+) (\d+) (-?\d+) (\d+:\d+)")
_LS_LINE = re.compile(r"ls (\d+) (\S)(\S{9})\S* +\d+ +\S+ +\S+ +(\d+)?.*")


def stat_script(path: str, dialect: str, follow: bool) -> str:
    """A script that prints one batch, of ``path`` alone."""
    # With follow no line says "symlink", so that no text of one is printed.
    batch = _batch(_FOLLOWING[dialect]) if follow else f"{_batch(_LOOKS[dialect])}\n{_LINKS}"
    return f"set -- {quote(path)}\n{batch}"


def stat_many_script(paths: Sequence[str], dialect: str) -> str:
    """A script that prints one batch, of those of ``paths`` that are there."""
    return (
        f"set -- {words(paths)}\n"
        'n=0; for p do if [ -e "$p" ] || [ -L "$p" ]; then n=$((n+1)); fi; done\n'
        "[ $n -gt 0 ] || exit 0\n"
        # Only where some are missing: to put the others together takes the square of their number.
        '[ $n -eq $# ] || for p do shift; if [ -e "$p" ] || [ -L "$p" ]; then set -- "$@" "$p"; fi; done\n'
        f"{_batch(_LOOKS[dialect])}\n{_LINKS}"
    )


def walk_script(folder: str, dialect: str, *, is_deep: bool = True) -> str:
    """A script that prints the batches of all below ``folder``, itself as ``.`` among them; else of its entries."""
    which = "" if is_deep else "! -name . -prune "
    batch = quote(f"{_batch(_LOOKS[dialect])}\n{_LINKS}")
    return (
        f"set -- {quote(folder)}\n"
        '[ -e "$1" ] || { echo "No such file or directory" >&2; exit 1; }\n'
        '[ -d "$1" ] || { echo "Not a directory" >&2; exit 1; }\n'
        f'cd -- "$1" || {{ echo "Permission denied" >&2; exit 1; }}\nexec find . {which}-exec sh -c {batch} sh {{}} +'
    )


def parse(pieces: Iterable[bytes]) -> Iterator[FileInfo]:
    """What the batches say, in their order; ``Broken`` where a line is missing because something vanished."""
    output = _Output(pieces)
    while head := output.until(b"\n"):
        if not head.startswith(b"batch "):
            raise Broken(_CHANGED)
        infos = [_info(output.until(b"\n").decode("ascii", "replace")) for _ in range(int(head[6:]))]
        names = output.strings(len(infos))
        links = [name for name, info in zip(names, infos, strict=True) if info.kind == "symlink"]
        texts = output.strings(len(links))
        targets = dict(zip(links, (text.removesuffix("x").removesuffix("\n") for text in texts), strict=True))
        for name, info in zip(names, infos, strict=True):
            path = name.removeprefix("./")
            yield FileInfo(path, info.kind, info.size_bytes, info.mode, info.mtime_s, info.inode, targets.get(name))


class _Output:
    """What a script prints, taken up to one mark after the other, however it is cut into pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._data, self._at = b"", 0

    def until(self, mark: bytes) -> bytes:
        """What comes before the next ``mark``; nothing at the end, ``Broken`` where the end comes before the mark."""
        while (end := self._data.find(mark, self._at)) < 0:
            piece = next(self._pieces, b"")
            self._data, self._at = self._data[self._at :] + piece, 0
            if not piece:
                if self._data:
                    raise Broken(_CHANGED)
                return b""
        data = self._data[self._at : end]
        self._at = end + len(mark)
        return data

    def strings(self, count: int) -> Sequence[str]:
        """So many strings, each with a NUL behind it."""
        found = [self.until(b"\0") for _ in range(count)]
        if not all(found):
            raise Broken(_CHANGED)
        return [data.decode("utf-8", "surrogateescape") for data in found]


def _batch(look: str) -> str:
    return f'printf "batch %d\\n" $#\n{look} || exit 1\nprintf "%s\\0" "$@"'


def _info(line: str) -> FileInfo:
    match = _LINE.fullmatch(line)
    if match is not None:
        bits = int(match[1], 16)
        kind = _KIND_BITS.get(bits & 0o170000, "other")
        size = int(match[2]) if kind == "file" else 0
        return FileInfo("", kind, size, bits & 0o7777, float(match[3]), match[4])
    match = _LS_LINE.fullmatch(line)
    if match is None:
        raise Broken(_CHANGED)
    kind = _KINDS.get(match[2], "other")
    mode = sum(meaning.get(letter, 0) for meaning, letter in zip(_MODES, match[3], strict=True))
    return FileInfo("", kind, int(match[4] or 0) if kind == "file" else 0, mode, float(match[1]))
