"""The text of the user's SSH configuration, with ``Include`` lines replaced by what they include."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from wlmctl.errors import ConfigError

#: Names the only SSH configuration file that is read, as ``ssh -F`` does.
VARIABLE = "WLMCTL_SSH_CONFIG"
SYSTEM_FILE = Path("/etc/ssh/ssh_config")
_DEEPEST_INCLUDE = 16


def config_text() -> str:
    """The user's file and then the system's (the first value found wins); empty where there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConfigError(f"{VARIABLE}: {path} is not a file")
        return _text(path, path.parent)
    user = Path("~/.ssh/config").expanduser()
    parts = [(user, user.parent), (SYSTEM_FILE, SYSTEM_FILE.parent)]
    # "Host *" ends the last block of the user's file, so that the system's own first lines count for all hosts.
    return "\nHost *\n".join(_text(path, folder) for path, folder in parts if path.is_file())


def _text(path: Path, base: Path) -> str:
    return "\n".join(_lines(path, base, 0))


def _lines(path: Path, base: Path, depth: int) -> Iterator[str]:
    if depth > _DEEPEST_INCLUDE:
        raise ConfigError(f"{path}: Include lines nest deeper than {_DEEPEST_INCLUDE}")
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    block = "Host *"
    for line in lines:
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() in ("host", "match"):
            block = line
        if word.lower() != "include":
            yield line
            continue
        for pattern in rest.split():
            where = base / Path(pattern.strip('"')).expanduser()
            for name in sorted(glob.glob(str(where))):
                if Path(name).is_file():
                    yield from _lines(Path(name), base, depth + 1)
        yield block  # what the included file ended with does not reach beyond it
