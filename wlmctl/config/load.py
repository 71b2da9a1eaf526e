"""Which files are read, and who wins: flags over variables over the nearest file over the user's file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wlmctl.config import keys, toml_file, urls
from wlmctl.config.model import Config, Setting, Tls
from wlmctl.config.toml_file import Key, TomlFile
from wlmctl.errors import ConfigError, InvalidFile, Mistake
from wlmctl.machine import GROUP, LOCAL, OVER_SSH, Machine, Reference
from wlmctl.suggest import did_you_mean

FILE_NAME = "wlmctl.toml"
VARIABLES: Mapping[str, str] = {"WLMCTL_STORE": "store", "WLMCTL_BROKER": "broker", "WLMCTL_SCHEDULER": "scheduler"}


def load_config(
    flag_file: str | None = None,
    *,
    store: str | None = None,
    broker: str | None = None,
    scheduler: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Config:
    """Read the configuration; the keyword arguments are the values of flags, and win.

    ``InvalidFile`` holds every mistake of a file at once; other mistakes are a ``ConfigError`` of one line.
    """
    environ = os.environ if environ is None else environ
    folder = cwd or _current_folder()
    files = [toml_file.read(path) for path in _paths(flag_file, environ, folder)]
    merged = _Merged(environ, folder)
    for file in files:
        merged.take_file(file)
    for variable, key in VARIABLES.items():
        if environ.get(variable):
            merged.take_text(key, environ[variable], variable)
    for key, value in (("store", store), ("broker", broker), ("scheduler", scheduler)):
        if value is not None:
            merged.take_text(key, value, f"--{key}")
    return merged.config(files)


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        raise ConfigError("the current folder does not exist any more: change to another one") from None


def _paths(flag_file: str | None, environ: Mapping[str, str], folder: Path) -> list[Path]:
    """The files to read, the weakest first."""
    named = flag_file or environ.get("WLMCTL_CONFIG")
    if named:
        return [folder / named]
    users = _base(environ, "XDG_CONFIG_HOME", ".config")
    found = [users / "wlmctl" / FILE_NAME] if users else []
    found += [above / FILE_NAME for above in (folder, *folder.parents) if os.path.lexists(above / FILE_NAME)][:1]
    existing = [path for path in found if os.path.lexists(path)]
    for path in existing:
        # nobody has named it, and to read it may take for ever
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{path}: this is a FIFO, a socket or a device, expected a TOML file")
    if len(existing) == 2 and os.path.realpath(existing[0]) == os.path.realpath(existing[1]):
        return existing[:1]
    return existing


def _base(environ: Mapping[str, str], variable: str, default: str) -> Path | None:
    """A folder of the XDG base directory specification; None for a login without a home."""
    named = environ.get(variable, "")
    if named.startswith("/"):
        return Path(named)
    home = environ.get("HOME") or os.path.expanduser("~")
    return Path(home) / default if home.startswith("/") else None


class _Merged:
    """The values so far, each with its origin."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        state = _base(environ, "XDG_STATE_HOME", ".local/state")
        self._state = (state or Path("/var/tmp")) / "wlmctl"
        self._folder = folder
        self._values: dict[Key, Any] = {}
        self._origins: dict[Key, str] = {}
        defaults = Config(store=f"sqlite:///{self._state / 'wlmctl.db'}")
        for key in _WITH_DEFAULT:
            self._take((key,), getattr(defaults, keys.FIELDS.get(key, key)), "default")

    def take_file(self, file: TomlFile) -> None:
        for key, value in file.values.items():
            if isinstance(value, dict) and key in self._values:
                value = {**self._values[key], **value}
            self._take(key, value, file.origins[key])

    def take_text(self, key: str, text: str, origin: str) -> None:
        if origin.startswith("--"):
            urls.warn_of_password(origin, key, text)
        try:
            self._take((key,), keys.TOP[key](text, self._folder), origin)
        except ValueError as error:
            raise ConfigError(f"{origin}: {urls.without_password(text)!r}, expected {error}") from None

    def _take(self, key: Key, value: Any, origin: str) -> None:
        self._values[key] = value
        self._origins[key] = origin

    def config(self, files: list[TomlFile]) -> Config:
        top = {keys.FIELDS.get(key[0], key[0]): value for key, value in self._values.items() if len(key) == 1}
        self._check_times(top)
        return Config(
            **top,
            store_secret=getattr(top["store"], "password", None),
            broker_secret=getattr(top["broker"], "password", None),
            tls=self._tls(),
            machines=self._machines(),
            counters={key[1]: value for key, value in self._values.items() if key[0] == "counters"},
            files=tuple(file.path for file in files),
            state_folder=self._state,
            origins={".".join(key): Setting(_shown(value), self._origins[key]) for key, value in self._shown_values()},
        )

    def _check_times(self, top: Mapping[str, Any]) -> None:
        """A lease that a heartbeat or two do not renew would run out under a worker that is well."""
        if top["lease_s"] < 3 * top["heartbeat_s"]:
            origin = self._origins[("lease",)]
            where = self._origins[("heartbeat",)] if origin == "default" else origin
            found = f"lease {top['lease_s']:g} s, heartbeat {top['heartbeat_s']:g} s"
            raise ConfigError(f"{where}: {found}, expected a lease of at least three heartbeats")

    def _tls(self) -> Tls:
        files = {key[1]: value for key, value in self._values.items() if key[0] == "tls"}
        if "key" in files and "cert" not in files:
            where = self._origins["tls", "key"]
            raise ConfigError(f"{where}: tls.key: a key without a certificate, expected tls.cert too")
        return Tls(**files)

    def _shown_values(self) -> list[tuple[Key, Any]]:
        return [(key, value) for key, value in self._values.items() if key[0] != "machines" or len(key) == 3]

    def _machines(self) -> Mapping[str, Machine]:
        settings: dict[str, dict[str, Any]] = {LOCAL: {"transport": "local"}}
        for key, value in self._values.items():
            if key[0] == "machines":
                machine = settings.setdefault(key[1], {})
                if len(key) == 3:
                    machine[keys.FIELDS.get(key[2], key[2])] = value
        homeless = [name for name, machine in settings.items() if name != LOCAL and _needs_host(machine)]
        if homeless:
            raise InvalidFile([self._without_host(name) for name in homeless])
        machines = {name: Machine(name=name, **machine) for name, machine in settings.items()}
        mistakes = [*self._logins_without_queue(machines), *self._wrong_groups(machines)]
        if mistakes:
            raise InvalidFile(mistakes)
        for (_, group, _), members in self._groups():
            for name in members:
                labels = (*machines[name].labels, GROUP + group)
                machines[name] = replace(machines[name], labels=tuple(dict.fromkeys(labels)))
        return machines

    def _groups(self) -> Iterator[tuple[Key, tuple[str, ...]]]:
        return ((key, value) for key, value in self._values.items() if key[0] == "groups")

    def _wrong_groups(self, machines: Mapping[str, Machine]) -> Iterator[Mistake]:
        for key, members in self._groups():
            if key[1] in machines:
                yield self._mistake(key, f"{key[1]} is a machine, too", "a name that no machine has")
            for name in members:
                if name not in machines:
                    hint = did_you_mean(name, machines) or f"there are {', '.join(sorted(machines))}"
                    yield self._mistake(key, f"no machine {name!r}", "names of [machines.NAME]", hint)

    def _logins_without_queue(self, machines: Mapping[str, Machine]) -> Iterator[Mistake]:
        for machine in machines.values():
            if machine.logins and not machine.has_queue:
                found = f'logins with batch = "{machine.batch}"'
                hint = "what one login node starts as its own processes the others cannot see"
                yield self._mistake(("machines", machine.name, "logins"), found, "a batch system with a queue", hint)

    def _without_host(self, name: str) -> Mistake:
        hint = "only local, and what a transport reaches without a login, needs none"
        return self._mistake(("machines", name), "no host", 'host = "NAME"', hint)

    def _mistake(self, key: Key, found: str, expected: str, hint: str = "") -> Mistake:
        where = self._origins[key]
        file, _, line = where.rpartition(":")
        at = (file, int(line)) if line.isdigit() else (where, None)
        return Mistake(at[0], at[1], ".".join(key), found, expected, hint)


#: Keys that have a value even where nothing says one; shown with it.
_WITH_DEFAULT = (
    "store", "broker", "prefix", "scheduler", "decision_limit", "heartbeat", "lease", "ack_timeout", "permit_grace",
    "message_limit", "queue_type",
)  # fmt: skip


def _needs_host(machine: Mapping[str, Any]) -> bool:
    return "host" not in machine and machine.get("transport", "sftp") in {*OVER_SSH, LOCAL}


def _shown(value: Any) -> Any:
    if isinstance(value, Reference):
        return {value.kind: value.value}
    return list(value) if isinstance(value, tuple) else value
