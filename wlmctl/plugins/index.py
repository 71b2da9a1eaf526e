"""The index of installed plugins: looks one up by kind and name, and imports no more than that kind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import PluginConflict, PluginError, UnknownPlugin
from wlmctl.plugins.entry_points import DISABLE, EntryPoint, Installed
from wlmctl.plugins.loading import HOOKS, TITLES, Loaded, load
from wlmctl.suggest import did_you_mean

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin as ``plugin list`` shows it; ``error`` says why it cannot be used, None when it can."""

    kind: str
    name: str
    distribution: str
    version: str
    module: str
    error: str | None = None


class PluginIndex:
    """The plugins installed in the folders of ``path`` (default ``sys.path``), less those the environment disables.

    Safe to use from several threads. A plugin that cannot be used is warned about once. ``PluginError`` when wlmctl
    itself is not installed there.
    """

    def __init__(self, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._installed = Installed(path, environ)
        self._lock = threading.RLock()
        self._loaded: dict[str, list[Loaded]] = {}
        self._broken: dict[EntryPoint, str] = {}

    def find(self, kind: str, name: str) -> Any:
        """What the plugin offers under that name: a factory, or for a command ``"module:function"``."""
        offers = [loaded for loaded in self._of_kind(kind) if name in loaded.offers]
        sources = {_source(loaded.entry_point): loaded for loaded in offers}
        if len(sources) > 1:
            raise PluginConflict(_conflict(kind, name, list(sources.values())))
        if offers:
            return offers[0].offers[name]
        raise UnknownPlugin(self._unknown(kind, name))

    def names(self, kind: str) -> list[str]:
        """The names of that kind which can be used; imports its plugins."""
        return sorted({name for loaded in self._of_kind(kind) for name in loaded.offers})

    def installed(self) -> list[PluginInfo]:
        """Every plugin of every kind, the unusable ones with the reason; imports them all."""
        strange = [entry for entry in self._installed.entry_points if entry.kind not in HOOKS]
        return [
            *(row for kind in HOOKS for row in self._rows(kind)),
            *(_info(entry, entry.name, f"kind {entry.kind!r} is none of {', '.join(HOOKS)}") for entry in strange),
        ]

    def _rows(self, kind: str) -> list[PluginInfo]:
        loaded = {item.entry_point: item for item in self._of_kind(kind, warn=False)}
        sources: dict[str, dict[tuple[str, str], Loaded]] = {}
        for item in loaded.values():
            for name in item.offers:
                sources.setdefault(name, {})[_source(item.entry_point)] = item
        rows: dict[tuple[str, str, str], PluginInfo] = {}
        for entry in self._installed.of_kind(kind):
            if entry not in loaded:
                reason = f"left out by {DISABLE}" if self._installed.is_disabled(entry) else self._broken.get(entry)
                rows[entry.name, entry.distribution, entry.module] = _info(entry, entry.name, reason)
                continue
            for name in loaded[entry].offers:
                items = list(sources[name].values())
                error = _conflict(kind, name, items) if len(items) > 1 else None
                rows[name, entry.distribution, entry.module] = _info(entry, name, error)
        return [rows[key] for key in sorted(rows)]

    def _of_kind(self, kind: str, warn: bool = True) -> list[Loaded]:
        """The usable plugins of that kind, imported at the first call."""
        with self._lock:
            if kind not in self._loaded:
                self._loaded[kind] = []
                self._loaded[kind] = self._load_all(kind, warn)
            return self._loaded[kind]

    def _load_all(self, kind: str, warn: bool) -> list[Loaded]:
        usable = []
        for entry in self._installed.of_kind(kind):
            if self._installed.is_disabled(entry):
                continue
            try:
                loaded = load(entry)
            except PluginError as error:
                self._broken[entry] = str(error)
                if warn:
                    log.warning("plugin %s of %s is left out: %s", entry.full_name, entry.source, error)
                log.debug("plugin %s", entry.full_name, exc_info=error)
                continue
            usable.append(loaded)
            for other in loaded.other_kinds:
                if warn and not self._has_entry_point(other, entry):
                    log.warning(
                        "plugin %s of %s also offers a %s, which is ignored: it needs an entry point %s_<name>",
                        *(entry.full_name, entry.source, TITLES[other], other),
                    )
        return usable

    def _has_entry_point(self, kind: str, like: EntryPoint) -> bool:
        return any(
            entry.module == like.module and entry.distribution == like.distribution
            for entry in self._installed.of_kind(kind)
        )

    def _unknown(self, kind: str, name: str) -> str:
        title = TITLES[kind]
        for entry in self._installed.of_kind(kind):
            if entry.name == name and self._installed.is_disabled(entry):
                return f"{title} {name!r}: left out by {DISABLE}"
            if entry.name == name and entry in self._broken:
                return f"{title} {name!r}: the plugin of {entry.source} cannot be used: {self._broken[entry]}"
        known = self.names(kind)
        there = f"installed: {', '.join(known)}" if known else f"no {title} is installed"
        hint = did_you_mean(name, known)
        return f"{title} {name!r}: no such plugin ({hint + ' ' if hint else ''}{there})"


def _conflict(kind: str, name: str, items: list[Loaded]) -> str:
    sources = " and ".join(f"{item.entry_point.source} ({item.entry_point.module})" for item in items)
    return f"{TITLES[kind]} {name!r} is offered by {sources}: uninstall one, or name its entry point in {DISABLE}"


def _info(entry: EntryPoint, name: str, error: str | None) -> PluginInfo:
    return PluginInfo(entry.kind, name, entry.distribution, entry.version, entry.module, error)


def _source(entry: EntryPoint) -> tuple[str, str]:
    """What tells two plugins apart: one module of one distribution may have several entry points."""
    return entry.distribution, entry.module
