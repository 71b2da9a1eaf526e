"""A way to a TCP service that can be cut: what a process sees of a network."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field

_CHUNK_BYTES = 1 << 18
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


@dataclass
class _Side:
    """One end of a connection: what is to be written to it, and its other end."""

    socket: socket.socket
    pending: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    watched: int = 0
    other: _Side | None = None


class Relay:
    """Listens on ``port`` of a loopback address and passes everything on to the service.

    ``cut``: nothing passes and nobody is told, as when a cable is pulled, until ``mend``; with ``loudly`` all
    connections are reset, and so are new ones.
    """

    def __init__(self, host: str, port: int, address: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listener = socket.create_server((address, 0))
        self._listener.setblocking(False)
        self.address, self.port = address, int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._is_silent = self._is_loud = self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"relay to {port}", daemon=True)
        self._thread.start()

    def cut(self, *, loudly: bool = False) -> None:
        """Nothing passes from now on."""
        with self._lock:
            self._is_silent, self._is_loud = not loudly, loudly

    def mend(self) -> None:
        """Everything passes again: also what was sent meanwhile on connections that are still there."""
        with self._lock:
            self._is_silent = self._is_loud = False

    def close(self) -> None:
        """End all connections, and listen no more."""
        with self._lock:
            self._is_closed = True
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                silent, loud, closed = self._is_silent, self._is_loud, self._is_closed
            if loud or closed:
                for key in list(self._selector.get_map().values()):
                    if key.data is not None:
                        self._drop(key.data, abort=loud)
            if closed:
                self._listener.close()
                self._selector.close()
                return
            if silent:
                threading.Event().wait(0.05)
                continue
            for key, events in self._selector.select(0.05):
                if key.data is None:
                    self._accept(refuse=loud)
                elif key.data.watched:  # not dropped with its other end a moment ago
                    self._pass_on(key.data, events)

    def _accept(self, *, refuse: bool) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if refuse:
            self._abort(client)
            return
        try:
            service = socket.create_connection(self._target, timeout=2)
        except OSError:
            self._abort(client)
            return
        near, far = _Side(client), _Side(service)
        near.other, far.other = far, near
        for side in (near, far):
            side.socket.setblocking(False)
            side.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._watch(side, selectors.EVENT_READ)

    def _pass_on(self, side: _Side, events: int) -> None:
        assert side.other is not None
        try:
            if events & selectors.EVENT_WRITE and side.pending:
                del side.pending[: side.socket.send(side.pending)]
            if events & selectors.EVENT_READ:
                chunk = side.socket.recv(_CHUNK_BYTES)
                side.is_ended = not chunk
                side.other.pending += chunk
                with suppress(BlockingIOError):
                    del side.other.pending[: side.other.socket.send(side.other.pending)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(side, abort=True)
            return
        if (side.is_ended and not side.other.pending) or (side.other.is_ended and not side.pending):
            self._drop(side, abort=False)
            return
        for each in (side, side.other):
            # one side is read only while the other takes what it says
            wanted = selectors.EVENT_READ if not (each.is_ended or each.other.pending) else 0  # type: ignore[union-attr]
            wanted |= selectors.EVENT_WRITE if each.pending else 0
            self._watch(each, wanted)

    def _watch(self, side: _Side, wanted: int) -> None:
        if wanted and side.watched:
            self._selector.modify(side.socket, wanted, side)
        elif wanted:
            self._selector.register(side.socket, wanted, side)
        elif side.watched:
            self._selector.unregister(side.socket)
        side.watched = wanted

    def _drop(self, side: _Side, *, abort: bool) -> None:
        assert side.other is not None
        for each in (side, side.other):
            if each.watched:
                self._watch(each, 0)
            self._abort(each.socket) if abort else each.socket.close()

    @staticmethod
    def _abort(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        connection.close()
