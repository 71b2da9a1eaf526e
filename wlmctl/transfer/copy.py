"""Carrying out a plan: every file under a temporary name, compared, then renamed; nothing stays behind an error."""

from __future__ import annotations

import logging
import posixpath
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby

from wlmctl.errors import TransportError, WlmctlError
from wlmctl.transfer.leftovers import LEFTOVERS, sweep_forerunners
from wlmctl.transfer.place import Place, connected
from wlmctl.transfer.plan import Item, Plan
from wlmctl.transfer.progress import Report, Summary, Tally
from wlmctl.transfer.small import batches, is_small, send_batch
from wlmctl.transfer.stream import is_there_already, send
from wlmctl.transfer.temporary import temporary_path
from wlmctl.transfer.verify import Verify
from wlmctl.transport import Links, Transport

log = logging.getLogger(__name__)


def copy(
    plan: Plan,
    *,
    verify: Verify = Verify.SHA256,
    execution: str,
    progress: Report = lambda _: None,
    check: Callable[[], None] = lambda: None,
    pace: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Carry out ``plan``. ``execution`` makes the temporary names this execution's own.

    ``progress`` and ``check()``, which may raise, are called for each chunk; ``pace(size_bytes)`` before a chunk, or a
    batch of small files, is sent, and may sleep. After an error no partial file has a final name, and the temporary
    ones are removed.
    """
    tally = Tally(plan.size_bytes, plan.files, progress, check, pace)
    return _Execution(plan, verify, execution, tally).carry_out()


class _Execution:
    def __init__(self, plan: Plan, verify: Verify, execution: str, tally: Tally) -> None:
        self._plan, self._to, self._verify, self._name = plan, plan.to, verify, execution
        self._tally, self._check = tally, tally.check
        self._temporary: set[str] = set()
        self._folders: set[str] = set()

    def carry_out(self) -> Summary:
        began = time.monotonic()
        self._tally.tell()
        for place, items in groupby(self._plan.items, key=lambda item: item.place):
            self._from(place, list(items))
        return self._tally.summary(time.monotonic() - began, self._verify)

    def _from(self, place: Place, items: Sequence[Item]) -> None:
        try:
            with connected(place, self._to) as (source, destination):
                LEFTOVERS.sweep(self._to.machine, destination)
                beside = {posixpath.dirname(path) for item in items for path in (item.root, item.target)}
                sweep_forerunners(destination, beside, self._name)
                try:
                    for root, below in groupby(items, key=lambda item: item.root):
                        whole = list(below)
                        if root in self._plan.new_roots:
                            self._new_folder(source, destination, root, whole)
                        else:
                            self._into(source, destination, whole)
                except BaseException:
                    self._sweep(destination)
                    raise
        except BaseException:
            # the connection may have been what broke: what it could not remove, a new one can
            try:
                if self._temporary:
                    with suppress(WlmctlError), self._to.clearing() as destination:
                        self._sweep(destination)
            finally:
                LEFTOVERS.add(self._to.machine, self._temporary)
            raise

    def _new_folder(self, source: Transport, destination: Transport, root: str, items: Sequence[Item]) -> None:
        """A folder that does not exist yet is written beside its name and renamed once."""
        beside = temporary_path(root, self._name)
        with self._to.told(root):
            self._make(destination, posixpath.dirname(root))
            self._temporary.add(beside)
        placed = [(item, beside + item.target[len(root) :]) for item in items]
        self._make_folders(destination, placed)
        self._send(source, destination, placed, is_final=False)
        self._check()
        with self._to.told(root):
            if destination.stat(root) is None:
                try:
                    destination.rename(beside, root)
                except TransportError:
                    if destination.stat(root) is None:
                        raise
                else:
                    self._temporary.discard(beside)
                    return
            # another task has made the folder meanwhile: go in beside what it has put there
            self._make_folders(destination, [(item, item.target) for item in items])
            for item, path in placed:
                if item.info.kind != "directory":
                    destination.rename(path, item.target)
            destination.remove(beside)
            self._temporary.discard(beside)

    def _into(self, source: Transport, destination: Transport, items: Sequence[Item]) -> None:
        """Into a folder that exists: each file is whole or not there."""
        with self._to.told(items[0].root):
            self._make(destination, posixpath.dirname(items[0].root))
        self._make_folders(destination, [(item, item.target) for item in items])
        placed = [(item, temporary_path(item.target, self._name)) for item in items]
        self._send(source, destination, placed, is_final=True)

    def _make_folders(self, destination: Transport, placed: Sequence[tuple[Item, str]]) -> None:
        for item, path in placed:
            if item.info.kind == "directory":
                self._check()
                with self._to.told(item.target):
                    self._make(destination, path, item.info.mode | 0o700)

    def _make(self, destination: Transport, folder: str, mode: int = 0o777) -> None:
        if folder not in self._folders:
            destination.makedirs(folder, mode)
            self._folders.add(folder)

    def _send(
        self, source: Transport, destination: Transport, placed: Sequence[tuple[Item, str]], *, is_final: bool
    ) -> None:
        """All files and links to their paths; with ``is_final`` those are temporary, and each is renamed at once."""
        paths = {item.target: path for item, path in placed}
        small = [item for item, _ in placed if is_small(item)]
        for batch in batches(small):
            pairs = [(item, paths[item.target]) for item in batch]
            if is_final:
                self._temporary.update(path for _, path in pairs)
            self._tally.read_back += send_batch(source, destination, self._to, pairs, self._verify, self._tally)
            self._settle(destination, pairs, is_final=is_final)
        for item, path in placed:
            if item.info.kind == "symlink":
                self._link(destination, item, path, is_final=is_final)
            elif item.info.kind == "file" and not is_small(item):
                self._big(source, destination, item, path, is_final=is_final)

    def _big(self, source: Transport, destination: Transport, item: Item, path: str, *, is_final: bool) -> None:
        if is_final and self._verify == Verify.SHA256:
            with self._to.told(item.target):
                if is_there_already(source, destination, item, self._check):
                    self._tally.skip([item.info.size_bytes])
                    return
        if is_final:
            self._temporary.add(path)
        self._tally.read_back += send(source, destination, self._to, item, path, self._verify, self._tally)
        self._settle(destination, [(item, path)], is_final=is_final)

    def _link(self, destination: Transport, item: Item, path: str, *, is_final: bool) -> None:
        assert isinstance(destination, Links)  # looked at by the plan
        self._check()
        if is_final:
            self._temporary.add(path)
        with self._to.told(item.target):
            destination.symlink(item.info.target or "", path)
        self._settle(destination, [(item, path)], is_final=is_final)

    def _settle(self, destination: Transport, pairs: Sequence[tuple[Item, str]], *, is_final: bool) -> None:
        for item, path in pairs:
            if is_final:
                self._check()
                with self._to.told(item.target):
                    destination.rename(path, item.target)
                self._temporary.discard(path)
        self._tally.settled(len(pairs))

    def _sweep(self, destination: Transport) -> None:
        """Remove the temporary paths of this execution, as far as this connection still can."""
        for path in sorted(self._temporary):
            try:
                destination.remove(path)
            except TransportError as error:
                log.debug("%s is still there: %s", self._to.shown(path), error)
                return
            self._temporary.discard(path)
