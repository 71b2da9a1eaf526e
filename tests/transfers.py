"""Ends of transfers for tests, and transports that misbehave at a chosen moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from wlmctl.errors import Broken
from wlmctl.machine import Machine
from wlmctl.plugins import transport_factory
from wlmctl.transfer import Place, Plan, Source, Spot, Summary, Symlinks, Verify, copy, plan
from wlmctl.transport import FileInfo, Transport


def this_host() -> Transport:
    """The transport ``local``."""
    return transport_factory("local")(Machine("local", transport="local"), {})


def place(name: str = "local", open_transport: Callable[[], Any] = this_host) -> Place:
    """An end of transfers on this host, told apart by its name."""

    def lease() -> AbstractContextManager[Any]:
        return nullcontext(open_transport())

    return Place(name, name, lease, is_local=True)


def spot(path: str | Path) -> Spot:
    """The spot that an absolute path's text means."""
    text = str(path)
    return Spot(text.rstrip("/") or "/", text.endswith("/"), any(character in text for character in "*?["))


def planned(
    sources: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    source: Place | None = None,
    target: Place | None = None,
    symlinks: Symlinks = Symlinks.KEEP,
    exclude: Sequence[str] = (),
    execution: str = "",
) -> Plan:
    """A plan between two places of this host."""
    texts = [sources] if isinstance(sources, str | Path) else sources
    at = source or place()
    return plan(
        [Source(at, spot(each)) for each in texts],
        target or at,
        spot(to),
        symlinks=symlinks,
        exclude=exclude,
        execution=execution,
    )


def copied(*arguments: Any, verify: Verify = Verify.SHA256, execution: str = "e1", **options: Any) -> Summary:
    """Plan and copy."""
    return copy(planned(*arguments, execution=execution, **options), verify=verify, execution=execution)


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of executions anywhere below ``folder``."""
    return [path for path in folder.rglob("*") if ".wlm-" in path.name]


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """What is below ``folder``: content of files, text of symlinks, None for folders."""
    found: dict[str, bytes | str | None] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


class Narrow:
    """A transport with nothing but what the contract requires, around another one."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.is_broken = False

    def home(self) -> str:
        return self.inner.home()

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        self._check()
        return self.inner.stat(path, follow=follow)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        self._check()
        yield from self.inner.read(path, offset)

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        self._check()
        self.inner.write(path, chunks, info)

    def walk(self, path: str) -> Iterator[FileInfo]:
        self._check()
        return self.inner.walk(path)

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        self._check()
        self.inner.makedirs(path, mode)

    def remove(self, path: str) -> None:
        self._check()
        self.inner.remove(path)

    def rename(self, source: str, destination: str) -> None:
        self._check()
        self.inner.rename(source, destination)

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> Narrow:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self.is_broken:
            raise Broken("the connection is gone")


class CutWhileReading(Narrow):
    """Loses its connection after ``cut_at`` bytes were read."""

    def __init__(self, inner: Transport, cut_at: int) -> None:
        super().__init__(inner)
        self.left = cut_at

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        self._check()
        for chunk in self.inner.read(path, offset):
            for begin in range(0, len(chunk), 1000):
                piece = chunk[begin : begin + 1000]
                self.left -= len(piece)
                if self.left < 0:
                    self.is_broken = True
                    self._check()
                yield piece


class CutWhileWriting(Narrow):
    """Loses its connection after ``cut_at`` bytes were written; what was written until then stays."""

    def __init__(self, inner: Transport, cut_at: int) -> None:
        super().__init__(inner)
        self.left = cut_at

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        self._check()

        def counted() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk[: max(self.left, 0)]
                self.left -= len(chunk)
                if self.left < 0:
                    self.is_broken = True
                    self._check()

        self.inner.write(path, counted(), info)


class Disturbed(Narrow):
    """Calls ``disturb(path)`` once, after the first chunk of a file was read."""

    def __init__(self, inner: Transport, disturb: Callable[[str], None]) -> None:
        super().__init__(inner)
        self.disturb = disturb

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        for number, chunk in enumerate(self.inner.read(path, offset)):
            if number == 0:
                self.disturb(path)
            yield chunk


def far_host() -> Transport:
    """A transport that has every optional protocol for files, as that of a machine with a shell, but no ``spawn``."""
    return transport_factory("local")(Machine("far", transport="local", shell="none"), {})


class Far:
    """A far machine: counts what goes over the line to it, and may lose its connection ``cut_at`` bytes later."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.inner: Any = far_host()
        self.left, self.written_bytes = cut_at, 0

    def __getattr__(self, name: str) -> Any:
        if self.left is None or self.left >= 0:
            return getattr(self.inner, name)

        def gone(*_: Any, **__: Any) -> Any:
            raise Broken("the connection is gone")

        return gone if hasattr(self.inner, name) else getattr(self.inner, name)

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_: object) -> None: ...

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        self.inner.write(path, map(self._passed, chunks), info)

    def append(self, path: str, offset: int, chunks: Iterable[bytes]) -> None:
        self.inner.append(path, offset, map(self._passed, chunks))

    def write_many(self, files: Iterable[tuple[str, bytes, FileInfo]]) -> None:
        self.inner.write_many((path, self._passed(content), info) for path, content, info in files)

    def _passed(self, content: bytes) -> bytes:
        if self.left is not None:
            self.left -= len(content)
            if self.left < 0:
                raise Broken("the connection is gone")
        self.written_bytes += len(content)
        return content
