"""What ``wlmctl doctor`` checks of files: whether others on this host may read a secret, or change the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wlmctl.config import Config
from wlmctl.machine import Reference
from wlmctl.runtime.doctor_check import Check
from wlmctl.store.opening import is_postgresql

#: Bits of a mode that let every user of the host read, and write.
_READ, _WRITE = 0o004, 0o002


def check_files(config: Config) -> Iterator[Check]:
    """Files with permissions that are too wide; what is missing is told where it is used."""
    for what, place in _secrets(config):
        yield from _too_wide(what, Path(place).expanduser(), _READ | _WRITE, "read")
    if not is_postgresql(config.store):
        from wlmctl.store.sqlite import store_path

        yield from _too_wide("store", store_path(config.store), _WRITE, "change")


def _too_wide(what: str, path: Path, bits: int, doing: str) -> Iterator[Check]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & bits:
        text = f"{what}: every user of this host may {doing} {path} (mode {mode & 0o777:o})"
        yield Check("permissions", "problem", text, f"chmod o= {path}")


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    """Each file that holds a secret, with the setting that names it."""
    references: dict[str, object] = {"store_password": config.store_login, "broker_password": config.broker_login}
    for name, machine in config.machines.items():
        references[f"machines.{name}.passphrase"] = machine.passphrase
        if machine.key:
            yield f"machines.{name}.key", machine.key
    if config.tls.key:
        yield "tls.key", config.tls.key
    for what, place in references.items():
        if isinstance(place, Reference) and place.kind == "file":
            yield what, place.value
