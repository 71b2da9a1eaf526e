"""One end of a transfer: a machine, how to get a connection to it, and how its paths are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from wlmctl.errors import TransportError, Unreachable
from wlmctl.text import shown
from wlmctl.transport import Transport

#: A temporary name in a message: the user knows the file by its final one.
_TEMPORARY = re.compile(r"(?<=/)\.([^/]+?)\.wlm-[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A machine as an end of transfers. ``name`` is how it is told to the user (its role).

    ``lease`` gives a connection for as long as its ``with`` lasts; on this host (``is_local``) as many as one likes.
    ``lease_to_clear`` gives one also after a cancel; without it ``lease`` serves for that, too.
    """

    name: str
    machine: str
    lease: Callable[[], AbstractContextManager[Transport]]
    is_local: bool = False
    lease_to_clear: Callable[[], AbstractContextManager[Transport]] | None = None

    def clearing(self) -> AbstractContextManager[Transport]:
        """A connection to remove with what an execution has left."""
        return (self.lease_to_clear or self.lease)()

    def shown(self, path: str) -> str:
        """``role:path`` for a message."""
        return f"{self.name}:{shown(path)}"

    @contextmanager
    def told(self, path: str) -> Iterator[None]:
        """Name this place and ``path`` in a transport error of the body, unless one nearer to it has."""
        try:
            yield
        except Unreachable:
            raise  # its message names the machine
        except TransportError as error:
            if getattr(error, "is_located", False):
                raise
            message = _TEMPORARY.sub(r"\1", str(error))
            if message.startswith("/"):
                message = f"{self.name}:{message}"
            elif not message.startswith(f"{self.name}:"):
                message = f"{self.shown(path)}: {message}"
            located = type(error)(shown(message))  # a server's own words may be in it
            located.is_located = True  # type: ignore[attr-defined]
            raise located from error


@dataclass(frozen=True, slots=True)
class Ends:
    """The two open connections of a transfer; both may be one. ``to`` is where ``destination`` leads."""

    source: Transport
    destination: Transport
    to: Place


@contextmanager
def connected(source: Place, to: Place) -> Iterator[tuple[Transport, Transport]]:
    """A connection to each of two places.

    Taken in the order of the machines' names, so that two transfers that go opposite ways never wait for each other;
    one machine with a limit of connections is both ends over a single one, for the same reason.
    """
    if source.machine == to.machine and not to.is_local:
        with to.lease() as both:
            yield both, both
    elif source.machine <= to.machine:
        with source.lease() as first, to.lease() as second:
            yield first, second
    else:
        with to.lease() as second, source.lease() as first:
            yield first, second
