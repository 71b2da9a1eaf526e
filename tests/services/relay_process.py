"""The process of a ``Relay``: passes bytes on, late, slowly or no longer, as it is told on its standard input.

One JSON object a line in, ``{"do": name, ...}``, and one out for each. Ends with its standard input.
"""

from __future__ import annotations

import io
import json
import math
import random
import selectors
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

_CHUNK_BYTES = 1 << 18
_SEGMENT_BYTES = 1448
_PACED_BYTES = 1 << 14
#: What one direction of a connection may have under way, as the buffers of a network's ends.
_UNDER_WAY_BYTES = 4 << 20
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


class Line:
    """What all connections have in common: the conditions, what has passed, and a failure to come."""

    def __init__(self, conditions: dict[str, Any]) -> None:
        self.delay_s: float = conditions["round_trip_s"] / 2
        self.bytes_per_s: float | None = conditions["bytes_per_s"]
        self.late_share: float = conditions["late_share"]
        self.late_s: float = conditions["late_s"]
        self.random = random.Random(conditions["seed"])
        self.passed_bytes = {"up": 0, "down": 0}
        self.failure: dict[str, Any] | None = None
        self.has_failed = False

    @property
    def under_way_bytes(self) -> int:
        """What one direction may have under way; on a slow line not much more than it carries in its delay."""
        if self.bytes_per_s is None:
            return _UNDER_WAY_BYTES
        return max(1 << 16, min(_UNDER_WAY_BYTES, int(self.bytes_per_s * (self.delay_s + 0.1))))


class Way:
    """One direction of a connection: what was read from ``source`` and is due at ``sink`` some time later."""

    def __init__(self, line: Line, name: str, source: socket.socket, sink: socket.socket) -> None:
        self._line, self._name, self.source, self.sink = line, name, source, sink
        self._queue: deque[tuple[float, memoryview]] = deque()  # an empty one is the end
        self._held_bytes, self._last_due_s, self._until_late_bytes = 0, 0.0, self._drawn()
        self.is_blocked = self.is_ended = self.is_stopped = False

    @property
    def reads(self) -> bool:
        """True while more is wanted from the source."""
        return not (self.is_ended or self.is_stopped) and self._held_bytes < self._line.under_way_bytes

    @property
    def due_s(self) -> float:
        """When there is something to pass on; never, while the sink takes nothing."""
        return self._queue[0][0] if self._queue and not (self.is_blocked or self.is_stopped) else math.inf

    def take(self, now_s: float) -> None:
        """Read once from the source."""
        chunk = memoryview(self.source.recv(_CHUNK_BYTES))
        self.is_ended = not chunk
        at = 0
        while True:
            piece, late_s = self._piece(chunk[at:])
            due_s = max(now_s + self._line.delay_s + late_s, self._last_due_s)
            if self._line.bytes_per_s:
                due_s += len(piece) / self._line.bytes_per_s
            self._last_due_s = due_s
            self._queue.append((due_s, piece))
            self._held_bytes += len(piece)
            at += len(piece)
            if at >= len(chunk):
                return

    def _piece(self, chunk: memoryview) -> tuple[memoryview, float]:
        """A beginning of ``chunk`` that is due at one time, and how long it is held back."""
        most = len(chunk) if self._line.bytes_per_s is None else _PACED_BYTES
        if not self._line.late_share:
            return chunk[:most], 0.0
        if self._until_late_bytes <= 0:
            self._until_late_bytes = self._drawn()
            return chunk[: min(most, _SEGMENT_BYTES)], self._line.late_s
        piece = chunk[: min(most, self._until_late_bytes)]
        self._until_late_bytes -= len(piece)
        return piece, 0.0

    def _drawn(self) -> int:
        share = self._line.late_share
        if not 0 < share < 1:
            return 0
        return _SEGMENT_BYTES * int(math.log(1 - self._line.random.random()) / math.log(1 - share))

    def give(self, now_s: float) -> str:
        """Pass on what is due; ``end``, or how the connection is to fail, when that comes."""
        while self._queue and self._queue[0][0] <= now_s:
            due_s, data = self._queue.popleft()
            if not data:
                return "end"
            failure = self._line.failure
            here = failure is not None and failure["way"] == self._name
            left = failure["after_bytes"] if failure and here else len(data)
            try:
                sent = self.sink.send(data[:left]) if left else 0
            except BlockingIOError:
                sent, self.is_blocked = 0, True
            self._held_bytes -= sent
            self._line.passed_bytes[self._name] += sent
            if sent < len(data):
                self._queue.appendleft((due_s, data[sent:]))
            if failure and here:
                failure["after_bytes"] -= sent
                if not failure["after_bytes"]:
                    self._line.failure, self._line.has_failed = None, True
                    return str(failure["how"])
            if sent < len(data):
                self.is_blocked = True
                return ""
        return ""


class Connection:
    """Two ways between a client and the service."""

    def __init__(self, line: Line, client: socket.socket, service: socket.socket) -> None:
        self.ways = (Way(line, "up", client, service), Way(line, "down", service, client))
        self.sockets = (client, service)
        for each in self.sockets:
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wanted(self, at: socket.socket) -> int:
        """The events of one end that matter now."""
        events = 0
        for way in self.ways:
            if way.source is at and way.reads:
                events |= selectors.EVENT_READ
            if way.sink is at and way.is_blocked and not way.is_stopped:
                events |= selectors.EVENT_WRITE
        return events

    def close(self, *, abort: bool) -> None:
        for each in self.sockets:
            if abort:
                _abort(each)
            each.close()


class Switch:
    """Accepts connections, and moves their bytes when they are due."""

    def __init__(self, target: tuple[str, int], listener: socket.socket, line: Line) -> None:
        self._target, self._listener, self._line = target, listener, line
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._orders = io.FileIO(0)  # what waits in a buffer, no selector sees
        self._connections: set[Connection] = set()
        self._watched: dict[socket.socket, int] = {}
        self._is_silent = self._is_loud = False

    def run(self) -> None:
        """Until the standard input ends."""
        self._selector.register(self._orders, selectors.EVENT_READ)
        while True:
            if self._is_silent:  # nothing passes, and nobody is told
                if not self._obey():
                    return
                continue
            due_s = min((way.due_s for each in self._connections for way in each.ways), default=math.inf)
            wait_s = None if due_s == math.inf else max(0.0, due_s - time.monotonic())
            for key, events in self._selector.select(wait_s):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._orders:
                    if not self._obey():
                        return
                elif key.data in self._connections:
                    self._pass_on(key.data, key.fileobj, events)  # type: ignore[arg-type]
            now_s = time.monotonic()
            for connection in [each for each in self._connections if min(way.due_s for way in each.ways) <= now_s]:
                self._give(connection, now_s)

    def _obey(self) -> bool:
        line = self._orders.readline()
        if not line:
            return False
        order = json.loads(line)
        match order.pop("do"):
            case "cut":
                self._is_silent, self._is_loud = not order["loudly"], order["loudly"]
                if self._is_loud:
                    for connection in list(self._connections):
                        self._drop(connection, abort=True)
            case "mend":
                self._is_silent = self._is_loud = False
            case "fail":
                self._line.failure, self._line.has_failed = order, False
        state = {"passed_bytes": self._line.passed_bytes, "has_failed": self._line.has_failed}
        sys.stdout.write(json.dumps(state) + "\n")
        sys.stdout.flush()
        return True

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        try:
            if self._is_loud:
                raise ConnectionRefusedError
            service = socket.create_connection(self._target, timeout=2)
        except OSError:
            _abort(client)
            client.close()
            return
        connection = Connection(self._line, client, service)
        self._connections.add(connection)
        self._watch(connection)

    def _pass_on(self, connection: Connection, at: socket.socket, events: int) -> None:
        now_s = time.monotonic()
        try:
            for way in connection.ways:
                if way.sink is at and events & selectors.EVENT_WRITE:
                    way.is_blocked = False
                if way.source is at and events & selectors.EVENT_READ and way.reads:
                    with suppress(BlockingIOError):
                        way.take(now_s)
        except OSError:
            self._drop(connection, abort=True)
            return
        self._give(connection, now_s)

    def _give(self, connection: Connection, now_s: float) -> None:
        for way in connection.ways:
            try:
                outcome = way.give(now_s) if way.due_s <= now_s else ""
            except OSError:
                outcome = "reset"
            if outcome in ("end", "reset"):
                self._drop(connection, abort=outcome == "reset")
                return
            if outcome == "stall":
                way.is_stopped = True
            elif outcome == "cut":
                connection.ways[0].is_stopped = connection.ways[1].is_stopped = True
        self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        for each in connection.sockets:
            wanted, watched = connection.wanted(each), self._watched.get(each, 0)
            if wanted == watched:
                continue
            if wanted and watched:
                self._selector.modify(each, wanted, connection)
            elif wanted:
                self._selector.register(each, wanted, connection)
            else:
                self._selector.unregister(each)
            self._watched[each] = wanted

    def _drop(self, connection: Connection, *, abort: bool) -> None:
        for each in connection.sockets:
            if self._watched.pop(each, 0):
                self._selector.unregister(each)
        connection.close(abort=abort)
        self._connections.discard(connection)


def _abort(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def main() -> None:
    """Serve; the first line out names the port."""
    conditions = json.loads(sys.argv[1])
    listener = socket.create_server((conditions["address"], 0))
    listener.setblocking(False)
    switch = Switch((conditions["host"], conditions["port"]), listener, Line(conditions))
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        switch.run()


if __name__ == "__main__":
    main()
