"""The keys of an ``environment`` task."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wlmctl.errors import SpecError
from wlmctl.machine import LOCAL
from wlmctl.spec import check_keys, checked_text, found, has_placeholder, text_of, texts_of
from wlmctl_task_environment.modules import ACTIVATE, activate

_MODULE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+@:=/~-]*")
_MODE = re.compile(r"0?[0-7]{3}|0o[0-7]{3}|[0-7]{4}")
_FILES = "a mapping of path to {from: FILE} or {content: TEXT}"


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """A file to make: from a file beside the experiment file (``source``), or from ``content``."""

    path: str
    source: str | None = None
    content: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What is made on ``machine``. Paths are as written: relative ones lie in the experiment's folder.

    ``modules`` are loaded before the commands, and by who sources ``activate`` in the environment's own folder.
    """

    machine: str = LOCAL
    directories: tuple[str, ...] = ()
    files: tuple[EnvironmentFile, ...] = ()
    commands: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def is_built(self) -> bool:
        """True where it has a folder of its own, made once for all experiments."""
        return bool(self.commands or self.modules)

    @property
    def built_files(self) -> tuple[EnvironmentFile, ...]:
        """What lies in that folder before the commands run."""
        own = tuple(file for file in self.files if is_inside(file.path))
        return (*own, EnvironmentFile(ACTIVATE, content=activate(self.modules))) if self.modules else own


#: The keys as JSON Schema says them.
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "machine": {"type": "string", "minLength": 1},
        "directories": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "files": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "from": {"type": "string", "minLength": 1},
                    "content": {"type": "string"},
                    "mode": {"type": "string", "pattern": "^(0?[0-7]{3}|0o[0-7]{3}|[0-7]{4})$"},
                },
                "oneOf": [{"required": ["from"]}, {"required": ["content"]}],
            },
        },
        "commands": {"type": "array", "items": {"type": "string", "minLength": 1}},
        "modules": {
            "description": "of Environment Modules or Lmod, loaded in this order",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
        },
    },
}


def parse(mapping: Mapping[str, Any]) -> EnvironmentSpec:
    """The keys as an ``EnvironmentSpec``; ``SpecError`` for the first that does not fit.

    Files named by ``from`` are not looked at: they are read at submit, and gone on a later host.
    """
    check_keys(mapping, ("machine", "directories", "files", "commands", "modules"))
    machine = text_of(mapping, "machine", "the name of a role or machine", LOCAL)
    if not machine:
        raise SpecError("machine", "is empty", "the name of a role or machine")
    directories = texts_of(mapping, "directories", "a list of paths")
    for position, directory in enumerate(directories):
        _check_path(f"directories[{position}]", directory, machine, "the path of a folder")
    commands = texts_of(mapping, "commands", "a list of commands")
    for position, command in enumerate(commands):
        if not command.strip():
            raise SpecError(f"commands[{position}]", "is empty", "a command")
    modules = texts_of(mapping, "modules", "a list of modules such as [gcc/13, openmpi]")
    for position, module in enumerate(modules):
        if not has_placeholder(module) and _MODULE.fullmatch(module) is None:
            raise SpecError(f"modules[{position}]", f"found {found(module)}", "the name of a module, such as gcc/13.2")
    files = mapping.get("files", {})
    if not isinstance(files, Mapping):
        raise SpecError("files", f"found {found(files)}", _FILES)
    made = tuple(_file(machine, path, value) for path, value in files.items())
    spots: dict[str, str] = {}
    for file in made:
        spot = posixpath.normpath(file.path)
        if spot in spots:
            raise SpecError(f"files.{file.path}", f"is the same file as {found(spots[spot])}", "each file once")
        spots[spot] = file.path
    if modules and ACTIVATE in spots:
        raise SpecError(f"files.{spots[ACTIVATE]}", "is what loads the modules", "another name")
    return EnvironmentSpec(machine, directories, made, commands, modules)


def _file(machine: str, path: Any, value: Any) -> EnvironmentFile:
    path = checked_text(path, "files", "a path")
    key = f"files.{path}"
    _check_path(key, path, machine, "the path of a file")
    if not has_placeholder(path) and posixpath.basename(path) in ("", ".", ".."):
        raise SpecError(key, "names a folder", "the path of a file")
    if not isinstance(value, Mapping):
        raise SpecError(key, f"found {found(value)}", "{from: FILE} or {content: TEXT}, and perhaps mode")
    check_keys(value, ("from", "content", "mode"), key)
    if ("from" in value) == ("content" in value):
        raise SpecError(
            key, "has both from and content" if "from" in value else "is empty", "either from: FILE or content: TEXT"
        )
    mode = text_of(value, "mode", 'octal digits, as in "0755"', "", key)
    if mode and _MODE.fullmatch(mode) is None and not has_placeholder(mode):
        raise SpecError(f"{key}.mode", f"found {found(mode)}", 'octal digits, as in "0755"')
    octal = int(mode.removeprefix("0o"), 8) if mode and not has_placeholder(mode) else None
    if "content" in value:
        return EnvironmentFile(path, None, text_of(value, "content", "the file's text", inside=key), octal)
    source = text_of(value, "from", "the path of a file beside the experiment file", inside=key)
    if has_placeholder(source):
        raise SpecError(f"{key}.from", "depends on a value of the run", "a file that can be read at submit")
    if not source:
        raise SpecError(f"{key}.from", "is empty", "the path of a file beside the experiment file")
    return EnvironmentFile(path, source, None, octal)


def _check_path(key: str, path: str, machine: str, expected: str) -> None:
    if not path or "\0" in path:
        raise SpecError(key, "is empty" if not path else "holds a NUL character", expected)
    if machine != LOCAL and leaves(path):
        raise SpecError(key, f"found {found(path)}", "a path that stays in the experiment's folder")


def leaves(path: str) -> bool:
    """True for a relative path that leads out of its folder."""
    whole = posixpath.normpath(path)
    return whole == ".." or whole.startswith("../")


def is_inside(path: str) -> bool:
    """True for a path that also lies in the environment's own folder: relative, and not out of it."""
    return not path.startswith(("/", "~/")) and path != "~" and not leaves(path)


def digest(spec: EnvironmentSpec, content: Callable[[EnvironmentFile], bytes], preamble: str) -> str:
    """64 hex digits that are the same for the same files, folders, commands and preamble."""
    files = [
        [posixpath.normpath(file.path), file.mode, hashlib.sha256(content(file)).hexdigest()]
        for file in spec.built_files
    ]
    folders = sorted(posixpath.normpath(folder) for folder in spec.directories if is_inside(folder))
    told = json.dumps([sorted(files), folders, list(spec.commands), preamble])
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
