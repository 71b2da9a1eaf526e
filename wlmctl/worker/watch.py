"""The ends of deferred work on this very host, as events: file descriptors that become readable."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Sequence

from wlmctl.machine import Machine
from wlmctl.message import Deferral

log = logging.getLogger(__name__)


class Watcher:
    """A thread that waits for ends and passes on all that came together, a machine at a time."""

    def __init__(self, ended: Callable[[Machine, Sequence[Deferral]], None]) -> None:
        self._ended = ended
        self._poll = select.epoll()
        self._watched: dict[int, tuple[Machine, Deferral]] = {}
        self._known: set[tuple[int, int, int]] = set()
        self._unarmed: dict[tuple[int, int, int], int] = {}
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._poll.register(self._wake_read, select.EPOLLIN)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def add(self, descriptor: int, machine: Machine, deferral: Deferral, *, armed: bool = True) -> None:
        """Watch ``descriptor``, which this object closes, for the end of the deferred task.

        Not ``armed``: its end is told only after ``arm``, since nobody may hear of it before the task is deferred.
        Raises ``OSError`` where the system cannot wait for it.
        """
        with self._lock:
            if self._closed:
                os.close(descriptor)
                return
            try:
                with select.epoll() as trial:
                    trial.register(descriptor)
            except OSError:
                os.close(descriptor)
                raise
            self._watched[descriptor] = (machine, deferral)
            self._known.add(_name(deferral))
            if not armed:
                self._unarmed[_name(deferral)] = descriptor
                return
        self._poll.register(descriptor, select.EPOLLIN)

    def arm(self, deferral: Deferral) -> None:
        """The task is known to be deferred: from now on its end is told."""
        with self._lock:
            descriptor = self._unarmed.pop(_name(deferral), None)
        if descriptor is not None:
            self._poll.register(descriptor, select.EPOLLIN)

    def knows(self, deferral: Deferral) -> bool:
        """True when the end of this attempt is watched already."""
        with self._lock:
            return _name(deferral) in self._known

    def _run(self) -> None:
        while True:
            ready = self._poll.poll()
            ended: dict[str, tuple[Machine, list[Deferral]]] = {}
            with self._lock:
                if self._closed:
                    return
                for descriptor, _ in ready:
                    entry = self._watched.pop(descriptor, None)
                    if entry is None:
                        continue
                    self._poll.unregister(descriptor)
                    _reap(descriptor)
                    os.close(descriptor)
                    machine, deferral = entry
                    self._known.discard(_name(deferral))
                    ended.setdefault(machine.name, (machine, []))[1].append(deferral)
            for machine, deferrals in ended.values():
                self._tell(machine, deferrals)

    def _tell(self, machine: Machine, deferrals: Sequence[Deferral]) -> None:
        try:
            self._ended(machine, deferrals)
        except BaseException:  # a plugin may raise anything; polls ask for these later
            log.exception("ends on machine %s could not be told", machine.name)

    def close(self) -> None:
        """Stop watching; the work goes on."""
        with self._lock:
            self._closed = True
            descriptors = list(self._watched)
            self._watched.clear()
            self._unarmed.clear()
        os.write(self._wake_write, b"x")
        self._thread.join()
        for descriptor in (*descriptors, self._wake_read, self._wake_write):
            os.close(descriptor)
        self._poll.close()


def _reap(descriptor: int) -> None:
    """Take the exit status of an own child, so that it does not stay a zombie; others are not ours to take."""
    with contextlib.suppress(OSError):
        os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)


def _name(deferral: Deferral) -> tuple[int, int, int]:
    return deferral.key.exp, deferral.key.idx, deferral.key.attempt
