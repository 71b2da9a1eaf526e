"""The local transport without ``spawn``: what a machine with a login looks like to a batch system."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from wlmctl.transport import Completed, FileInfo, Runs, Transport


class CommandsOnly:
    """Passes everything on to ``inner``; ``before`` is shell text before each command.

    ``as_one_word``: the command is quoted, so that ``before`` may end with ``sh -c``.
    """

    def __init__(self, inner: Transport, before: str = "", *, as_one_word: bool = False) -> None:
        self._inner, self._before, self._as_one_word = inner, before, as_one_word

    def home(self) -> str:
        return self._inner.home()

    def stat(self, path: str, *, follow: bool = False) -> FileInfo | None:
        return self._inner.stat(path, follow=follow)

    def read(self, path: str, offset: int = 0) -> Iterator[bytes]:
        return self._inner.read(path, offset)

    def write(self, path: str, chunks: Iterable[bytes], info: FileInfo) -> None:
        self._inner.write(path, chunks, info)

    def walk(self, path: str) -> Iterator[FileInfo]:
        return self._inner.walk(path)

    def makedirs(self, path: str, mode: int = 0o777) -> None:
        self._inner.makedirs(path, mode)

    def remove(self, path: str) -> None:
        self._inner.remove(path)

    def rename(self, source: str, destination: str) -> None:
        self._inner.rename(source, destination)

    def run(self, command: str, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        assert isinstance(self._inner, Runs)
        return self._inner.run(
            self._before + (shlex.quote(command) if self._as_one_word else command), stdin, timeout_s
        )

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
