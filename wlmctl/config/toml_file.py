"""One ``wlmctl.toml``: read, checked key by key, with every mistake at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlmctl.config import keys, toml_lines, urls, values
from wlmctl.config.values import Check
from wlmctl.errors import ConfigError, InvalidFile, Mistake, NotYet
from wlmctl.machine import LOCAL
from wlmctl.suggest import did_you_mean

log = logging.getLogger(__name__)

#: A configuration is written by hand; what is larger is some other file.
MAX_BYTES = 1024 * 1024

Key = tuple[str, ...]


@dataclass(slots=True)
class TomlFile:
    """The checked values of one file by their key's path, and where each stands (``file:line``)."""

    path: Path
    values: dict[Key, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    @property
    def machines(self) -> Iterable[str]:
        """The names of the machines the file describes, in its order."""
        return dict.fromkeys(key[1] for key in self.values if key[0] == "machines")


def read(path: Path) -> TomlFile:
    """Read and check the file; ``InvalidFile`` with all mistakes, ``ConfigError`` when it cannot be read."""
    import tomllib

    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is no TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: this is no TOML: {type(error).__name__}") from None
    return _Reader(path, toml_lines.key_lines(text)).read(document)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a folder, expected a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB, expected a file of settings")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8, expected a TOML file") from None


class _Reader:
    """Collects values and mistakes of one document."""

    def __init__(self, path: Path, lines: dict[Key, int]) -> None:
        self._file = TomlFile(path)
        self._lines = lines
        self._folder = path.absolute().parent
        self._mistakes: list[Mistake] = []

    def read(self, document: Mapping[str, Any]) -> TomlFile:
        for key, value in document.items():
            if key == "machines":
                self._machines(value)
                continue
            if key == "groups":
                self._groups(value)
                continue
            if key == "tls":
                self._tls(value)
                continue
            if key == "counters":
                self._counters(value)
                continue
            if key in ("store", "broker"):
                urls.warn_of_password(self._where((key,)), key, value)
            self._value((key,), value, keys.TOP, keys.RESERVED_TOP, ("machines", "groups", "tls", "counters"))
        if self._mistakes:
            raise InvalidFile(self._mistakes)
        return self._file

    def _groups(self, groups: Any) -> None:
        if not isinstance(groups, dict):
            self._mistake(("groups",), _shown(groups), "tables [groups.NAME]")
            return
        for name, group in groups.items():
            path = ("groups", name)
            try:
                values.name(name, self._folder)
            except ValueError as error:
                self._mistake(path, "a wrong name", str(error))
                continue
            if not isinstance(group, dict) or "machines" not in group:
                self._mistake(path, _shown(group), f'a table [groups.{name}] with machines = ["NAME", ...]')
                continue
            for key, value in group.items():
                self._value((*path, key), value, keys.GROUP, frozenset())

    def _tls(self, files: Any) -> None:
        if not isinstance(files, dict):
            self._mistake(("tls",), _shown(files), "a table [tls]")
            return
        for key, value in files.items():
            self._value(("tls", key), value, keys.TLS, frozenset())

    def _counters(self, counters: Any) -> None:
        if not isinstance(counters, dict):
            self._mistake(("counters",), _shown(counters), "a table [counters] with NAME = AMOUNT")
            return
        for name, amount in counters.items():
            try:
                values.counter(name)
            except ValueError as error:
                self._mistake(("counters", name), "a wrong name", str(error))
            else:
                self._value(("counters", name), amount, {name: keys.COUNTER}, frozenset())

    def _machines(self, machines: Any) -> None:
        if not isinstance(machines, dict):
            self._mistake(("machines",), _shown(machines), "tables [machines.NAME]")
            return
        for name, machine in machines.items():
            try:
                values.name(name, self._folder)
            except ValueError as error:
                self._mistake(("machines", name), "a wrong name", str(error))
                continue
            if not isinstance(machine, dict):
                self._mistake(("machines", name), _shown(machine), f"a table [machines.{name}]")
                continue
            known = keys.LOCAL_MACHINE if name == LOCAL else keys.MACHINE
            self._file.values.setdefault(("machines", name), {})
            self._file.origins[("machines", name)] = self._where(("machines", name))
            for key, value in machine.items():
                path = ("machines", name, key)
                if name == LOCAL and key in keys.LOGIN:
                    self._mistake(path, "a login", "no login", "local is this host, and needs none")
                else:
                    self._value(path, value, known, frozenset())

    def _value(
        self, path: Key, value: Any, known: Mapping[str, Check], reserved: frozenset[str], others: tuple[str, ...] = ()
    ) -> None:
        key = path[-1]
        if key in reserved:
            self._mistake(path, "not yet: this is reserved for a later version", "")
            return
        if key not in known:
            hint = did_you_mean(key, (*known, *others)) or f"known: {', '.join(sorted((*known, *others)))}"
            self._mistake(path, "an unknown key", "", hint)
            return
        try:
            self._file.values[path] = known[key](value, self._folder)
            self._file.origins[path] = self._where(path)
        except NotYet as error:
            self._mistake(path, str(error), "")
        except ValueError as error:
            found = _shown(urls.without_password(value) if isinstance(value, str) else value)
            self._mistake(path, "a text or a table" if key in _SECRETS else found, str(error))

    def _where(self, path: Key) -> str:
        line = toml_lines.line_of(self._lines, path)
        return f"{self._file.path}:{line}" if line else str(self._file.path)

    def _mistake(self, path: Key, found: str, expected: str, hint: str = "") -> None:
        line = toml_lines.line_of(self._lines, path)
        self._mistakes.append(Mistake(str(self._file.path), line, ".".join(path), found, expected, hint))


#: Keys whose wrong value may be the secret itself, and is not shown.
_SECRETS = frozenset({"passphrase", "store_password", "broker_password", "transport_options"})


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
