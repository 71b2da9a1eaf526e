"""Patterns of names: ``*``, ``?``, ``[..]``, and ``**`` for any depth of folders."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from wlmctl.errors import NotFound
from wlmctl.transfer.endpoint import has_magic
from wlmctl.transport import FileInfo, Lists, Transport

#: What an execution writes until it is whole: nobody's content, so never copied.
TEMPORARY = re.compile(r"\..*\.wlm-[A-Za-z0-9_-]+", re.DOTALL)


def expand(transport: Transport, pattern: str) -> list[str]:
    """The absolute paths that the absolute ``pattern`` matches, sorted; as in a shell, ``*`` matches no leading dot."""
    parts = [part for part in pattern.split("/") if part]
    return sorted(set(_expand(transport, "", parts)))


def _expand(transport: Transport, base: str, parts: Sequence[str]) -> Iterator[str]:
    plain = list(takewhile(lambda part: not has_magic(part), parts))
    base = "/".join([base, *plain])
    rest = parts[len(plain) :]
    if not rest:
        if transport.stat(base) is not None:
            yield base
        return
    if rest[0] == "**" or not isinstance(transport, Lists):
        for info in _quietly(transport.walk(base or "/")):
            if matches(info.path.split("/"), rest):
                yield f"{base}/{info.path}"
        return
    for info in _quietly(transport.entries(base or "/")):
        if not _name_matches(info.path, rest[0]):
            continue
        if len(rest) == 1:
            yield f"{base}/{info.path}"
        elif info.kind in ("directory", "symlink"):
            yield from _expand(transport, f"{base}/{info.path}", rest[1:])


def _quietly(listing: Iterator[FileInfo]) -> Iterator[FileInfo]:
    """A listing, which is empty where there is no such folder; temporary files of executions are left out."""
    try:
        for info in listing:
            if TEMPORARY.fullmatch(posixpath.basename(info.path)) is None:
                yield info
    except NotFound:
        return


def matches(names: Sequence[str], pattern: Sequence[str], *, dots: bool = False) -> bool:
    """True when the path of ``names`` matches the parts of ``pattern``; ``**`` is any number of folders, also none.

    ``dots``: wildcards match a leading dot too.
    """
    if not pattern:
        return not names
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(names) and (dots or not any(name.startswith(".") for name in names))
        skipped = bool(names) and (dots or not names[0].startswith(".")) and matches(names[1:], pattern, dots=dots)
        return skipped or matches(names, pattern[1:], dots=dots)
    if not names or not _name_matches(names[0], pattern[0], dots=dots):
        return False
    return matches(names[1:], pattern[1:], dots=dots)


def _name_matches(name: str, pattern: str, *, dots: bool = False) -> bool:
    return (dots or not name.startswith(".") or pattern.startswith(".")) and _regex(pattern).match(name) is not None


@lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


@dataclass(frozen=True, slots=True)
class _Rule:
    parts: tuple[str, ...]
    is_anchored: bool
    folders_only: bool


class Exclusion:
    """The ``exclude`` globs: without a slash they are for any name, with one for the path from the source's root.

    A final slash means folders only. Here ``*`` matches a leading dot too. What lies in an excluded folder is excluded.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        self._rules = []
        for glob in globs:
            text = glob.rstrip("/")
            parts = tuple(part for part in text.split("/") if part)
            self._rules.append(_Rule(parts, "/" in text, glob.endswith("/")))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def __call__(self, path: str, *, is_folder: bool) -> bool:
        """True when ``path``, relative to its source, or a folder that it lies in, is excluded."""
        names = path.split("/")
        for last in range(1, len(names) + 1):
            folder = is_folder or last < len(names)
            for rule in self._rules:
                looked_at = names[:last] if rule.is_anchored else names[last - 1 : last]
                if (folder or not rule.folders_only) and matches(looked_at, rule.parts, dots=True):
                    return True
        return TEMPORARY.fullmatch(names[-1]) is not None
