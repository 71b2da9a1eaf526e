"""The words of a plan: sources, what they hold, and where each of it goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wlmctl.transfer.endpoint import Spot
from wlmctl.transfer.place import Place
from wlmctl.transport import FileInfo


class Symlinks(StrEnum):
    """What becomes of a symlink: it is made again, what it points at is copied, or the transfer is refused."""

    KEEP = "keep"
    FOLLOW = "follow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Source:
    """One ``from``: a spot on a machine."""

    place: Place
    spot: Spot


@dataclass(frozen=True, slots=True)
class Origin:
    """What one source, or one match of its pattern, is: ``path`` on ``place``, which becomes ``root``."""

    place: Place
    path: str
    root: str


@dataclass(frozen=True, slots=True)
class Item:
    """One file, folder or symlink to copy: ``info.path`` below its origin. There may be very many: it holds no more."""

    origin: Origin
    info: FileInfo

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.origin.place

    @property
    def path(self) -> str:
        """Its absolute path there."""
        return f"{self.origin.path.rstrip('/')}/{self.info.path}" if self.info.path else self.origin.path

    @property
    def target(self) -> str:
        """What it becomes."""
        return f"{self.origin.root.rstrip('/')}/{self.info.path}" if self.info.path else self.origin.root

    @property
    def root(self) -> str:
        """The target of the whole source it belongs to."""
        return self.origin.root


@dataclass(frozen=True, slots=True)
class Targets:
    """What was found at the targets of a plan.

    ``new_roots`` are folder targets that do not exist yet; ``alike`` targets where a file of the same size, or a
    symlink with the same text, is already; ``folders`` some that are there; ``case_clash`` two targets that differ in
    upper and lower case only; ``left`` what earlier executions of the same work have left (None: not looked for).
    """

    new_roots: frozenset[str] = frozenset()
    alike: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    case_clash: tuple[str, str] | None = None
    left: tuple[FileInfo, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be copied, a folder before its content, and what was found where it goes."""

    to: Place
    items: tuple[Item, ...]
    targets: Targets = Targets()

    @property
    def new_roots(self) -> frozenset[str]:
        """Folder targets that do not exist yet."""
        return self.targets.new_roots

    @property
    def files(self) -> int:
        """How many files and symlinks there are."""
        return sum(item.info.kind != "directory" for item in self.items)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(item.info.size_bytes for item in self.items)


def is_alike(wanted: FileInfo, there: FileInfo) -> bool:
    """True when what is there may be what is wanted: a file of its size, a symlink with its text."""
    if wanted.kind != there.kind:
        return False
    if wanted.kind == "symlink":
        return wanted.target == there.target
    return wanted.kind == "file" and wanted.size_bytes == there.size_bytes
