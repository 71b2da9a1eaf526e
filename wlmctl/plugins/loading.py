"""One plugin: its module imported, its hooks checked, and what it offers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl import API_VERSION
from wlmctl.errors import PluginError
from wlmctl.plugins.entry_points import EntryPoint

#: The hook that each kind of entry point is about.
HOOKS: Mapping[str, str] = {
    "transport": "wlmctl_transports",
    "scheduler": "wlmctl_schedulers",
    "task": "wlmctl_task_types",
    "batch": "wlmctl_batch_systems",
    "command": "wlmctl_commands",
}

#: How each kind is called in messages.
TITLES: Mapping[str, str] = {
    "transport": "transport",
    "scheduler": "scheduler",
    "task": "task type",
    "batch": "batch system",
    "command": "command",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one entry point offers: name to factory; and the other hooks its module has, which are not used."""

    entry_point: EntryPoint
    offers: Mapping[str, Any]
    other_kinds: tuple[str, ...] = ()


def load(entry_point: EntryPoint) -> Loaded:
    """Import the plugin and ask it what it offers; whatever goes wrong in there is a ``PluginError`` of one line."""
    try:
        module = importlib.import_module(entry_point.module)
    except (Exception, SystemExit) as error:
        raise PluginError(f"cannot be imported: {type(error).__name__}: {_one_line(error)}") from error
    wanted = getattr(module, "WLMCTL_API", API_VERSION)
    if wanted != API_VERSION:
        raise PluginError(f"is written for plugin API {wanted!r}, this wlmctl has {API_VERSION}")
    results = _call_hooks(module, entry_point)
    hook = HOOKS[entry_point.kind]
    if hook not in results:
        raise PluginError(f"offers no {TITLES[entry_point.kind]}: {entry_point.module} has no hook {hook}()")
    others = tuple(kind for kind, name in HOOKS.items() if name in results and name != hook)
    return Loaded(entry_point, _checked(entry_point, results[hook]), others)


def _call_hooks(module: Any, entry_point: EntryPoint) -> dict[str, Any]:
    """The result of the hook of this kind, by its name; other hooks are there without a result."""
    import pluggy

    from wlmctl import hookspecs

    plugins = pluggy.PluginManager("wlmctl")
    plugins.add_hookspecs(hookspecs)
    try:
        plugins.register(module, f"{entry_point.distribution}:{entry_point.full_name}")
        plugins.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_one_line(error)) from error
    results: dict[str, Any] = {}
    for kind, name in HOOKS.items():
        hook = getattr(plugins.hook, name)
        if not hook.get_hookimpls():
            continue
        results[name] = None
        if kind == entry_point.kind:
            try:
                answers = hook()
            except (Exception, SystemExit) as error:
                raise PluginError(f"{name}() fails: {type(error).__name__}: {_one_line(error)}") from error
            results[name] = answers[0] if answers else None
    return results


def _checked(entry_point: EntryPoint, offers: Any) -> Mapping[str, Any]:
    hook = HOOKS[entry_point.kind]
    if not isinstance(offers, Mapping):
        raise PluginError(f"{hook}() returns {type(offers).__name__}, expected a mapping of names")
    for name, offer in offers.items():
        if not isinstance(name, str) or not name:
            raise PluginError(f"{hook}() has the name {name!r}, expected a text")
        if entry_point.kind == "command":
            if not isinstance(offer, str) or not all(offer.partition(":")):
                raise PluginError(f"{hook}() gives {offer!r} for {name}, expected 'module:function'")
        elif not callable(offer):
            raise PluginError(f"{hook}() gives {offer!r} for {name}, expected a factory")
    if entry_point.kind == "command" and entry_point.name not in offers:
        raise PluginError(
            f"{hook}() offers {', '.join(offers) or 'nothing'}, expected {entry_point.name} as the entry point"
        )
    return offers


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no reason given"
