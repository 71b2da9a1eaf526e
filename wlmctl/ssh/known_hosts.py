"""Host keys: what known_hosts files say of them, their fingerprints, and adding one that was accepted."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from wlmctl.errors import Unusable

log = logging.getLogger(__name__)


class Trust(Enum):
    """What the known_hosts files say of a host's key."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A host's public key: its type (``ssh-ed25519``) and its bytes as base64."""

    kind: str
    text: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` as ssh-keygen shows it."""
        digest = hashlib.sha256(base64.b64decode(self.text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One line of a known_hosts file."""

    marker: str
    patterns: str
    key: HostKey
    where: str

    def matches(self, name: str) -> bool:
        """True when the line is about the host of this name."""
        if self.patterns.startswith("|1|"):
            return _matches_hashed(self.patterns, name)
        found = False
        for pattern in self.patterns.lower().split(","):
            refused = pattern.startswith("!")
            # fnmatch gives [...] a meaning that known_hosts does not have.
            if fnmatchcase(name.lower(), pattern.lstrip("!").replace("[", "[[]")):
                if refused:
                    return False
                found = True
        return found


def read_known_hosts(files: Iterable[str]) -> list[KnownHost]:
    """Every line of the files that can be understood; a file that is not there has none."""
    return [entry for file in files for entry in _entries(file)]


def known_to_all(lines: Iterable[str]) -> list[KnownHost]:
    """The lines that come with a task from its orchestrator; one that cannot be understood says nothing."""
    return [entry for line in lines if (entry := _entry(line, "the orchestrator's store")) is not None]


def judge(known: Iterable[KnownHost], names: Iterable[str], key: HostKey) -> tuple[Trust, str]:
    """Whether ``key`` is the host's, and the ``file:line`` that says so.

    A host whose listed keys are all of other types counts as changed: its key was to be one of them.
    """
    known = list(known)
    for name in names:
        about = [entry for entry in known if entry.matches(name)]
        for entry in about:
            if entry.marker == "@revoked" and entry.key == key:
                return Trust.REVOKED, entry.where
        plain = [entry for entry in about if not entry.marker]
        for entry in plain:
            if entry.key == key:
                return Trust.TRUSTED, entry.where
        if plain:
            return Trust.CHANGED, plain[0].where
    return Trust.UNKNOWN, ""


def known_kinds(known: Iterable[KnownHost], names: Iterable[str]) -> list[str]:
    """The key types that are listed for the host, so that it can be asked for one of them."""
    names = list(names)
    return [entry.key.kind for entry in known if not entry.marker and any(map(entry.matches, names))]


def line_of(name: str, key: HostKey) -> str:
    """The line that says: this is the key of the host of this name."""
    return f"{name} {key.kind} {key.text}"


def add(file: str, name: str, key: HostKey) -> None:
    """Trust ``key`` for ``name``: replaces what the file says of the name in a line of its own."""
    path = Path(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        old = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in old if line.split()[:1] != [name.encode()]]
        if kept and not kept[-1].endswith(b"\n"):
            kept[-1] += b"\n"
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(b"".join([*kept, f"{line_of(name, key)}\n".encode()]))
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
        temporary.replace(path)
    except OSError as error:
        raise Unusable(f"{file}: the host key cannot be stored: {error.strerror}") from error


def _entries(file: str) -> Iterator[KnownHost]:
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s cannot be read: %s", file, error.strerror)
        return
    for number, line in enumerate(lines, 1):
        if (entry := _entry(line, f"{file}:{number}")) is not None:
            yield entry


def _entry(line: str, where: str) -> KnownHost | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < 3 or not _is_base64(fields[2]):
        return None
    return KnownHost(marker, fields[0], HostKey(fields[1], fields[2]), where)


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except binascii.Error:
        return False


def _matches_hashed(pattern: str, name: str) -> bool:
    try:
        salt, expected = (base64.b64decode(part) for part in pattern.split("|")[2:4])
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), expected)
