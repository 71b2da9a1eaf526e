"""What a transfer tells of itself: how far it is, and at its end what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wlmctl.text import counted, in_bytes
from wlmctl.transfer.verify import Verify


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is.

    ``bytes_done`` and ``files_done`` count also what need not be sent: files ``skipped`` because the target has them,
    files ``reused`` out of the machine's cache, and ``resumed_bytes`` that an execution which was cut has left.
    ``sent_bytes`` went over the line.
    """

    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    sent_bytes: int = 0
    resumed_bytes: int = 0
    skipped: int = 0
    reused: int = 0


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a transfer did; ``read_back`` files are small, or the far end could not hash them."""

    files: int
    size_bytes: int
    skipped: int
    read_back: int
    seconds: float
    verify: Verify
    sent_bytes: int = 0
    resumed_bytes: int = 0
    reused: int = 0

    def told(self) -> str:
        """The transfer in one line."""
        text = f"{counted(self.files, 'file')}, {in_bytes(self.size_bytes)} in {self.seconds:.1f} s"
        parts = [text, "nothing compared" if self.verify == Verify.NONE else f"{self.verify} compared"]
        if self.skipped:
            parts.append(f"{self.skipped} there already")
        if self.reused:
            parts.append(f"{self.reused} from the cache")
        if self.resumed_bytes:
            parts.append(f"{in_bytes(self.resumed_bytes)} resumed")
        return ", ".join(parts)


class Tally:
    """Counts what one execution does, and reports each step."""

    def __init__(
        self,
        bytes_total: int,
        files_total: int,
        report: Report,
        check: Callable[[], None],
        pace: Callable[[int], None],
    ) -> None:
        self._total = (bytes_total, files_total)
        self._report, self.check, self.pace = report, check, pace
        self.bytes_done = self.files_done = self.sent_bytes = self.resumed_bytes = 0
        self.skipped = self.reused = self.read_back = 0

    def sent(self, size_bytes: int) -> None:
        """So many bytes more have gone over the line."""
        self.sent_bytes += size_bytes
        self._count(size_bytes)

    def resumed(self, size_bytes: int) -> None:
        """So many bytes were there from an execution that was cut."""
        self.resumed_bytes += size_bytes
        self._count(size_bytes)

    def skip(self, sizes_bytes: list[int]) -> None:
        """Files of these sizes are at their targets already."""
        self.skipped += len(sizes_bytes)
        self.files_done += len(sizes_bytes)
        self._count(sum(sizes_bytes))

    def took_over(self, sizes_bytes: list[int]) -> None:
        """Whole files of these sizes were there from an execution that was cut."""
        self.files_done += len(sizes_bytes)
        self.resumed(sum(sizes_bytes))

    def reuse(self, size_bytes: int) -> None:
        """A file of this size came out of the cache."""
        self.reused += 1
        self._count(size_bytes)

    def settled(self, files: int) -> None:
        """So many files more are where they belong."""
        self.files_done += files
        self.tell()

    def tell(self) -> None:
        """Report how far it is."""
        self._report(
            Progress(
                self.bytes_done, self._total[0], self.files_done, self._total[1],
                self.sent_bytes, self.resumed_bytes, self.skipped, self.reused,
            )
        )  # fmt: skip

    def summary(self, seconds: float, verify: Verify) -> Summary:
        """What it did, at its end."""
        return Summary(
            self.files_done, self.bytes_done, self.skipped, self.read_back, seconds, verify,
            self.sent_bytes, self.resumed_bytes, self.reused,
        )  # fmt: skip

    def _count(self, size_bytes: int) -> None:
        self.bytes_done += size_bytes
        self.check()
        self.tell()
