"""How the files of a plan come to their final names: each by itself, or all of a new folder at once."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from wlmctl.errors import Denied, NotFound
from wlmctl.transfer.items import Item, is_alike
from wlmctl.transfer.leftovers import Forerunners, Temporaries
from wlmctl.transfer.place import Ends
from wlmctl.transfer.resume import RESUME_FROM_BYTES, can_resume
from wlmctl.transfer.temporary import temporary_path
from wlmctl.transport import BulkNames, FileInfo

log = logging.getLogger(__name__)

Pair = tuple[Item, str]


class Route(Protocol):
    """Where items are written, what is there of them already, and what becomes of them once they are whole."""

    #: What is there already was brought by an ended execution of the same work.
    is_resumed: bool

    def path(self, item: Item) -> str:
        """Where the item is written."""
        ...

    def whole_at(self, item: Item) -> str | None:
        """Where the same file may be already."""
        ...

    def begun(self, item: Item) -> list[FileInfo]:
        """Beginnings of it that ended executions have left."""
        ...

    def writes(self, items: Sequence[Item]) -> None:
        """These are about to be written."""
        ...

    def skip(self, items: Sequence[Item]) -> None:
        """These are there already."""
        ...

    def settle(self, pairs: Sequence[Pair]) -> None:
        """These are whole and compared."""
        ...


@dataclass(slots=True)
class OneByOne:
    """Into a folder that exists: each file is written beside its target, and renamed.

    ``alike`` are the targets that may hold the same already.
    """

    ends: Ends
    execution: str
    temporaries: Temporaries
    forerunners: Forerunners
    alike: frozenset[str]
    is_resumed: bool = False

    def path(self, item: Item) -> str:
        """Beside its target."""
        return temporary_path(item.target, self.execution)

    def whole_at(self, item: Item) -> str | None:
        """At its target."""
        return item.target if item.target in self.alike else None

    def begun(self, item: Item) -> list[FileInfo]:
        """Beside its target, too."""
        return self.forerunners.of(item.target)

    def writes(self, items: Sequence[Item]) -> None:
        """Large ones are of use to a later execution."""
        is_able = can_resume(self.ends.destination)
        for item in items:
            self.temporaries.add(self.path(item), resumable=is_able and item.info.size_bytes >= RESUME_FROM_BYTES)

    def skip(self, items: Sequence[Item]) -> None:
        """They are not written after all."""
        for item in items:
            self.temporaries.discard(self.path(item))

    def settle(self, pairs: Sequence[Pair]) -> None:
        """They get their final names."""
        destination = self.ends.destination
        with self.ends.to.told(pairs[0][0].target):
            if isinstance(destination, BulkNames) and len(pairs) > 1:
                destination.rename_many([(path, item.target) for item, path in pairs])
            else:
                for item, path in pairs:
                    with self.ends.to.told(item.target):
                        destination.rename(path, item.target)
        for _, path in pairs:
            self.temporaries.discard(path)


@dataclass(slots=True)
class AllAtOnce:
    """Into a folder that nobody sees yet: ``beside`` becomes ``root`` when all is there.

    ``taken`` are the files that an ended execution has left in it, by path.
    """

    ends: Ends
    execution: str
    forerunners: Forerunners
    root: str
    beside: str
    taken: dict[str, FileInfo] = field(default_factory=dict)
    is_resumed: bool = True

    def take_over(self, items: Sequence[Item]) -> None:
        """Go on with the newest folder of an ended execution, if there is one; what in it is in no plan goes away."""
        destination = self.ends.destination
        left = [info for info in self.forerunners.of(self.root) if info.kind == "directory"]
        if not left:
            return
        newest = max(left, key=lambda info: info.mtime_s)
        try:
            destination.rename(newest.path, self.beside)
        except (NotFound, Denied) as error:  # another execution may have been faster
            log.debug("%s is not gone on with: %s", newest.path, error)
            return
        del self.forerunners.found[newest.path]
        planned = {self.path(item): item.info for item in items}
        gone = ""
        for below in list(destination.walk(self.beside)):
            path = posixpath.join(self.beside, below.path)
            wanted = planned.get(path)
            if gone and path.startswith(gone):
                continue
            if wanted is not None and wanted.kind == below.kind:
                if below.kind != "directory":
                    self.taken[path] = replace(below, path=path)
            elif not self.forerunners.note(replace(below, path=path)):
                destination.remove(path)
                gone = f"{path}/"

    def path(self, item: Item) -> str:
        """In the folder, under its own name."""
        return self.beside + item.target[len(self.root) :]

    def whole_at(self, item: Item) -> str | None:
        """In the folder, when it was taken over."""
        path = self.path(item)
        there = self.taken.get(path)
        return path if there is not None and is_alike(item.info, there) else None

    def begun(self, item: Item) -> list[FileInfo]:
        """In the folder, moved aside: whoever wrote it may still do so."""
        path = self.path(item)
        there = self.taken.pop(path, None)
        if there is not None:
            aside = temporary_path(path, self.execution)
            self.ends.destination.rename(path, aside)
            return [replace(there, path=aside), *self.forerunners.of(path)]
        return self.forerunners.of(path)

    def writes(self, items: Sequence[Item]) -> None:
        """They go with the folder."""

    def skip(self, items: Sequence[Item]) -> None:
        """They stay in it."""

    def settle(self, pairs: Sequence[Pair]) -> None:
        """They are where they belong in it."""

    def tidy(self) -> None:
        """Remove from the folder what was of no use after all."""
        within = {path for path in self.forerunners.found if path.startswith(f"{self.beside}/")}
        for path in within:
            self.ends.destination.remove(path)
