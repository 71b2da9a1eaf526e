"""The entry points of the group ``wlmctl``, read straight from the installed distributions' metadata.

``importlib.metadata.entry_points`` parses the metadata of every distribution, which costs more than the rest
of a command's start; this reads only the ``entry_points.txt`` files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

GROUP = "wlmctl"
DISABLE = "WLMCTL_DISABLE_PLUGINS"

_SEPARATORS = re.compile(r"[-_.]+")


class EntryPoint(NamedTuple):
    """One line ``<kind>_<name> = module`` of one distribution. (A dataclass would cost each command its making.)"""

    kind: str
    name: str
    module: str
    distribution: str
    version: str

    @property
    def full_name(self) -> str:
        """The entry point's own name."""
        return f"{self.kind}_{self.name}"

    @property
    def source(self) -> str:
        """The distribution as it is named to people."""
        return f"{self.distribution} {self.version}".rstrip()


class Installed:
    """The entry points of the folders of ``path`` (default ``sys.path``), looked for once, in a fixed order.

    ``PluginError`` when wlmctl itself is not among the distributions there.
    """

    def __init__(self, path: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> None:
        named = (os.environ if environ is None else environ).get(DISABLE, "")
        self._disabled = frozenset(normalized(name.strip()) for name in named.split(",") if name.strip())
        self.entry_points, distributions = scan(sys.path if path is None else path)
        if "wlmctl" not in distributions:
            from wlmctl.errors import PluginError

            raise PluginError(
                "wlmctl is not installed, so its plugins cannot be found: run `pip install -e .` in its folder"
            )

    def of_kind(self, kind: str) -> list[EntryPoint]:
        """Those of one kind, the disabled ones too."""
        return [entry for entry in self.entry_points if entry.kind == kind]

    def is_disabled(self, entry: EntryPoint) -> bool:
        """Whether ``WLMCTL_DISABLE_PLUGINS`` names the entry point, its plugin or its distribution."""
        names = (entry.full_name, entry.name, entry.distribution)
        return bool(self._disabled) and not self._disabled.isdisjoint(map(normalized, names))

    def listed(self, kind: str) -> list[str]:
        """The names of one kind by their entry points alone, less the disabled ones."""
        return sorted({entry.name for entry in self.of_kind(kind) if not self.is_disabled(entry)})


def normalized(distribution: str) -> str:
    """The name under which a distribution is the same as another one."""
    return _SEPARATORS.sub("-", distribution).lower()


def scan(path: Sequence[str]) -> tuple[list[EntryPoint], set[str]]:
    """Our entry points in the folders of ``path``, sorted, and the names of all distributions there.

    A distribution that is found twice counts once: the first one, which is also the one that is imported.
    """
    seen: set[str] = set()
    found: list[EntryPoint] = []
    for folder in dict.fromkeys(os.path.abspath(entry) for entry in path):
        for metadata in _metadata_folders(folder):
            name, version = _name_and_version(metadata)
            if normalized(name) in seen:
                continue
            seen.add(normalized(name))
            text = _read(os.path.join(folder, metadata, "entry_points.txt"))
            found.extend(EntryPoint(*line, name, version) for line in _lines(text))
    return sorted(found, key=lambda entry: (entry.kind, entry.name, entry.distribution)), seen


def _metadata_folders(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))


def _name_and_version(metadata: str) -> tuple[str, str]:
    name, _, version = metadata.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
    return name.replace("_", "-"), version.partition("-")[0]


def _read(path: str) -> str:
    """The file's text if it may hold our group, else nothing."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return ""
    return content.decode("utf-8", "replace") if GROUP.encode() in content else ""


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    ours = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            ours = line == f"[{GROUP}]"
        elif ours and line and line[0] not in "#;":
            full_name, _, module = line.partition("=")
            kind, _, name = full_name.strip().partition("_")
            yield kind, name, module.partition("[")[0].strip()
