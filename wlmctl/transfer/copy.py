"""Carrying out a plan: every file under a temporary name, compared, then renamed; nothing stays behind an error."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby

from wlmctl.errors import TransportError, WlmctlError
from wlmctl.transfer.cache import Cache
from wlmctl.transfer.deliver import Delivery
from wlmctl.transfer.items import Item, Plan
from wlmctl.transfer.leftovers import LEFTOVERS, Forerunners, Temporaries, removed
from wlmctl.transfer.place import Ends, Place, connected
from wlmctl.transfer.progress import Report, Summary, Tally
from wlmctl.transfer.routes import AllAtOnce, OneByOne, Route
from wlmctl.transfer.target import check_case
from wlmctl.transfer.temporary import temporary_path
from wlmctl.transfer.unreadable import Unreadable, unreadable_files
from wlmctl.transfer.verify import Verify
from wlmctl.transport import BulkFolders, Lists, Transport

#: Between so many new folders a cancel is noticed.
_FOLDERS_AT_ONCE = 256


def copy(
    plan: Plan,
    *,
    verify: Verify = Verify.SHA256,
    execution: str,
    progress: Report = lambda _: None,
    check: Callable[[], None] = lambda: None,
    pace: Callable[[int], None] = lambda _: None,
    keeps: tuple[type[BaseException], ...] = (),
    cache: str | None = None,
) -> Summary:
    """Carry out ``plan``. ``execution`` makes the temporary names this execution's own.

    ``progress`` and ``check()``, which may raise, are called for each chunk; ``pace(size_bytes)`` before a chunk, or a
    batch of small files, is sent, and may sleep. After an error no partial file has a final name, and the temporary
    ones are removed; after one of the kinds ``keeps`` they stay where a later execution of the same work can go on
    with them. ``cache`` is the folder of the target's machine where large content is kept for others and taken from.
    """
    tally = Tally(plan.size_bytes, plan.files, progress, check, pace)
    return _Execution(plan, verify, execution, tally, keeps, cache).carry_out()


class _Execution:
    def __init__(
        self,
        plan: Plan,
        verify: Verify,
        execution: str,
        tally: Tally,
        keeps: tuple[type[BaseException], ...],
        cache: str | None,
    ) -> None:
        self._plan, self._to, self._verify, self._name = plan, plan.to, verify, execution
        self._tally, self._keeps, self._cache_folder = tally, keeps, cache
        self._temporaries = Temporaries()
        self._folders = set(plan.targets.folders)
        self._left: set[str] = set()

    def carry_out(self) -> Summary:
        began = time.monotonic()
        self._tally.tell()
        if self._plan.targets.case_clash is not None:
            with self._to.lease() as destination:
                check_case(self._to, destination, self._plan.targets.case_clash, self._name)
        for place, items in groupby(self._plan.items, key=lambda item: item.place):
            self._from(place, list(items))
        if self._left:
            with suppress(TransportError), self._to.lease() as destination:
                removed(destination, self._left)
        return self._tally.summary(time.monotonic() - began, self._verify)

    def _from(self, place: Place, items: Sequence[Item]) -> None:
        try:
            with connected(place, self._to) as (source, destination):
                ends = Ends(source, destination, self._to)
                LEFTOVERS.sweep(self._to.machine, destination)
                forerunners = Forerunners(destination, self._name)
                if self._plan.targets.left is None:
                    forerunners.look(self._beside(items))
                for info in self._plan.targets.left or ():
                    forerunners.note(info)
                try:
                    self._deliver(ends, items, forerunners)
                except BaseException as error:
                    self._left.update(forerunners.found)
                    self._clear(self._cause(error, ends, items), destination)
                self._left.update(forerunners.found)
        except BaseException:
            # the connection may have been what broke: what it could not remove, a new one can
            try:
                if self._temporaries.paths:
                    with suppress(WlmctlError), self._to.clearing() as destination:
                        self._temporaries.sweep(destination)
            finally:
                LEFTOVERS.add(self._to.machine, self._temporaries.paths)
            raise

    def _beside(self, items: Sequence[Item]) -> set[str]:
        """The folders in which temporary names of these items are."""
        into = (item.target for item in items if item.root not in self._plan.new_roots)
        return {posixpath.dirname(path) for path in (*{item.root for item in items}, *into)}

    def _deliver(self, ends: Ends, items: Sequence[Item], forerunners: Forerunners) -> None:
        cache = None
        if self._cache_folder is not None and self._verify == Verify.SHA256:
            cache = Cache(ends, self._cache_folder, self._name, self._tally.check)
        for root, below in groupby(items, key=lambda item: item.root):
            whole = list(below)
            if root in self._plan.new_roots:
                self._new_folder(ends, root, whole, forerunners, cache)
                continue
            with self._to.told(root):
                self._make(ends.destination, posixpath.dirname(root))
            self._make_folders(ends.destination, [(item, item.target) for item in whole])
            route = OneByOne(ends, self._name, self._temporaries, forerunners, self._plan.targets.alike)
            self._send(ends, route, whole, cache)

    def _send(self, ends: Ends, route: Route, items: Sequence[Item], cache: Cache | None) -> None:
        Delivery(ends, route, self._verify, self._tally, cache).send(items)

    def _new_folder(
        self, ends: Ends, root: str, items: Sequence[Item], forerunners: Forerunners, cache: Cache | None
    ) -> None:
        """A folder that does not exist yet is written beside its name and renamed once."""
        destination = ends.destination
        route = AllAtOnce(ends, self._name, forerunners, root, temporary_path(root, self._name))
        self._tally.check()
        with self._to.told(root):
            self._make(destination, posixpath.dirname(root))
            self._temporaries.add(route.beside, resumable=isinstance(destination, Lists))
            route.take_over(items)
        self._make_folders(destination, [(item, route.path(item)) for item in items])
        self._send(ends, route, items, cache)
        self._tally.check()
        with self._to.told(root):
            route.tidy()
            if destination.stat(root) is None:
                try:
                    destination.rename(route.beside, root)
                except TransportError:
                    if destination.stat(root) is None:
                        raise
                else:
                    self._temporaries.discard(route.beside)
                    return
            # another task has made the folder meanwhile: go in beside what it has put there
            self._make_folders(destination, [(item, item.target) for item in items])
            for item in items:
                if item.info.kind != "directory":
                    destination.rename(route.path(item), item.target)
            destination.remove(route.beside)
            self._temporaries.discard(route.beside)

    def _make_folders(self, destination: Transport, placed: Sequence[tuple[Item, str]]) -> None:
        folders = [(path, item.info.mode | 0o700) for item, path in placed if item.info.kind == "directory"]
        for at in range(0, len(folders), _FOLDERS_AT_ONCE):
            self._tally.check()
            missing = [folder for folder in folders[at : at + _FOLDERS_AT_ONCE] if folder[0] not in self._folders]
            if isinstance(destination, BulkFolders) and len(missing) > 1:
                with self._to.told(missing[0][0]):
                    destination.makedirs_many(missing)
                self._folders.update(path for path, _ in missing)
                continue
            for path, mode in missing:
                with self._to.told(path):
                    self._make(destination, path, mode)

    def _make(self, destination: Transport, folder: str, mode: int = 0o777) -> None:
        if folder not in self._folders:
            destination.makedirs(folder, mode)
            self._folders.add(folder)

    def _cause(self, error: BaseException, ends: Ends, items: Sequence[Item]) -> BaseException:
        """What is to be told of an error."""
        try:
            if isinstance(error, TransportError):
                self._tally.check()  # a connection is broken off under an execution that is cancelled
            if isinstance(error, Unreadable):
                return unreadable_files(ends.source, items, error, self._tally.check)
        except WlmctlError as nearer:
            return nearer
        return error

    def _clear(self, error: BaseException, destination: Transport) -> None:
        """Remove what is of no use to anybody, as far as this connection still can, and raise the error."""
        if isinstance(error, self._keeps):
            self._temporaries.leave()
        else:
            self._temporaries.add(*self._left)
        self._temporaries.sweep(destination)
        raise error
