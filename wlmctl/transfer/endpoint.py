"""Endpoints ``role:path`` as text: what the text alone says, before anything is looked at."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from wlmctl.text import shown

_ROLE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_./-]*):(.*)", re.DOTALL)
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path on the machine of a role, as it was written."""

    role: str
    path: str

    @property
    def is_folder(self) -> bool:
        """True for a path with a final slash (or one that is ``.``, ``..`` or ``~``, which can be nothing else)."""
        return posixpath.basename(self.path) in ("", ".", "..") or self.path == "~"

    @property
    def is_relative(self) -> bool:
        """True for a path that lies in the experiment's folder."""
        return not (self.path == "~" or self.path.startswith(("/", "~/")))

    @property
    def is_pattern(self) -> bool:
        """True for a path with ``*``, ``?`` or ``[``."""
        return _MAGIC.search(self.path) is not None


@dataclass(frozen=True, slots=True)
class Spot:
    """An absolute path, and what its text said of it."""

    path: str
    is_folder: bool = False
    is_pattern: bool = False


def split_endpoint(text: str) -> Endpoint:
    """``role:path`` as an ``Endpoint``; ``ValueError`` says what was expected."""
    match = _ROLE.fullmatch(text)
    if match is None:
        raise ValueError("role:path, as in local:results/")
    return Endpoint(*match.groups())


def has_magic(text: str) -> bool:
    """True when ``text`` holds a character of a pattern."""
    return _MAGIC.search(text) is not None


def located(endpoint: Endpoint, folder: str, home: str, *, may_leave: bool) -> Spot:
    """Where ``endpoint`` is: relative paths lie under ``folder``, ``~/`` is ``home``.

    ``ValueError`` when ``..`` leaves ``folder`` and may not.
    """
    text = endpoint.path
    if "\0" in text:
        raise ValueError(f"{shown(text)}: a path cannot hold a NUL")
    if text == "~" or text.startswith("~/"):
        path = posixpath.normpath(f"{home}/{text[2:]}")
    elif text.startswith("/"):
        path = posixpath.normpath(text)
    else:
        path = posixpath.normpath(f"{folder}/{text}")
        if not may_leave and not is_within(path, folder):
            raise ValueError(f"{shown(text)}: leaves the experiment's folder")
    if path.startswith("//"):  # normpath keeps two leading slashes
        path = path[1:]
    return Spot(path, endpoint.is_folder, endpoint.is_pattern)


def is_within(path: str, folder: str) -> bool:
    """True when ``path``, normalised, is ``folder`` or below it."""
    folder = posixpath.normpath(folder)
    return path == folder or path.startswith(folder.rstrip("/") + "/")
