"""pika's input and output with one ``send`` a burst: pika itself makes three a message.

``BurstServices`` is given to a connection as its I/O loop; it hands out ``BurstTransport`` for plain TCP, and leaves
TLS to pika's own. Only public interfaces of pika are used (``pika.adapters.utils.nbio_interface``).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.nbio_interface import AbstractIOReference, AbstractStreamProtocol, AbstractStreamTransport
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

from wlmctl.broker.rabbitmq.contents import Contents

#: Bytes of one ``recv``.
READ_BYTES = 64 * 1024

#: Bytes given to the system in one ``send``; more would be copied again and again behind a slow reader.
WRITE_BYTES = 1024 * 1024


class BurstServices(SelectorIOServicesAdapter):  # type: ignore[misc]
    """The I/O services of one connection; remembers its transport, so that the line can be cut."""

    def __init__(self) -> None:
        super().__init__(IOLoop())
        self.contents = Contents()
        self.transport: AbstractStreamTransport | None = None
        self._connecting: socket.socket | None = None

    def connect_socket(
        self, sock: socket.socket, resolved_addr: Any, on_done: Callable[[BaseException | None], None]
    ) -> AbstractIOReference:
        """Connect a socket (see pika's interface of that name)."""
        self._connecting = sock
        return super().connect_socket(sock, resolved_addr, on_done)

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], AbstractStreamProtocol],
        sock: socket.socket,
        on_done: Callable[[Any], None],
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> AbstractIOReference:
        """Link a connected socket with pika's protocol (see pika's interface of that name)."""

        def begin() -> Contents:
            return self.contents.before(protocol_factory())

        def linked(result: Any) -> None:
            if isinstance(result, tuple):
                self.transport, result = result[0], (result[0], self.contents.pika)
            on_done(result)

        if ssl_context is None:
            link = _Linking(self, begin, sock, linked)
            self.add_callback_threadsafe(link.link)
            return link
        return super().create_streaming_connection(begin, sock, linked, ssl_context, server_hostname)

    def cut(self) -> None:
        """Drop the line at once, without a word to the broker."""
        if isinstance(self.transport, BurstTransport):
            self.transport.cut()
        elif self.transport is not None:
            self.transport.abort()

    def release(self) -> None:
        """Close what is still open after the loop has ended, and the loop."""
        try:
            if isinstance(self.transport, BurstTransport):
                self.transport.close()
            elif self.transport is not None:  # pika's own ends in a turn of the loop
                self.transport.abort()
                self.call_later(0.05, self.stop)
                self.run()
            if self._connecting is not None:
                self._connecting.close()
        finally:
            self.close()


class _Linking(AbstractIOReference):  # type: ignore[misc]
    """The linking of one socket, which may be cancelled before it is done."""

    def __init__(self, services: BurstServices, factory: Callable[[], Any], sock: socket.socket, done: Any) -> None:
        self._services, self._factory, self._done = services, factory, done
        self._sock: socket.socket | None = sock

    def link(self) -> None:
        if (sock := self._sock) is None:
            return
        self._sock = None
        try:
            protocol = self._factory()
            transport = BurstTransport(sock, protocol, self._services)
            self._services.transport = transport
            protocol.connection_made(transport)
        except Exception as error:  # pika is to hear of it through its own door
            sock.close()
            self._done(error)
        else:
            self._done((transport, protocol))

    def cancel(self) -> bool:
        if self._sock is None:
            return False
        self._sock.close()
        self._sock = None
        return True


class BurstTransport(AbstractStreamTransport):  # type: ignore[misc]
    """A plain socket: what is written in one turn of the loop goes out in one ``send``."""

    def __init__(self, sock: socket.socket, protocol: Any, services: BurstServices) -> None:
        self._sock: socket.socket | None = sock
        self._protocol, self._services = protocol, services
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._rest = memoryview(b"")
        self._is_ending = False
        services.set_reader(sock.fileno(), self._on_readable)

    def get_protocol(self) -> Any:
        """pika's side of the line."""
        return self._protocol

    def get_write_buffer_size(self) -> int:
        """Bytes that wait to be sent."""
        return self._waiting_bytes + len(self._rest)

    def write(self, data: bytes) -> None:
        """Send the data, with all else that is written in this turn."""
        if self._is_ending or self._sock is None:
            return
        if not self._waiting_bytes and not self._rest:
            self._services.set_writer(self._sock.fileno(), self._on_writable)
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def abort(self) -> None:
        """Close at once, as pika wants it, which knows why; the protocol hears of it in a later turn."""
        self._end(None)

    def cut(self) -> None:
        """The same, though pika has found nothing wrong."""
        self._end(ConnectionAbortedError("cut off"))

    def close(self) -> None:
        """Close the socket, and tell nobody."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _on_readable(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self._end(None)

    def _on_writable(self) -> None:
        if self._sock is None:
            return
        if not self._rest:
            self._rest = memoryview(b"".join(self._waiting))
            self._waiting.clear()
            self._waiting_bytes = 0
        try:
            self._rest = self._rest[self._sock.send(self._rest[:WRITE_BYTES]) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if not self._rest and not self._waiting_bytes:
            self._services.remove_writer(self._sock.fileno())

    def _end(self, error: OSError | None) -> None:
        if self._is_ending or self._sock is None:
            return
        self._is_ending = True
        self._services.remove_reader(self._sock.fileno())
        self._services.remove_writer(self._sock.fileno())
        self._services.add_callback_threadsafe(lambda: self._ended(error))

    def _ended(self, error: OSError | None) -> None:
        if (sock := self._sock) is None:
            return
        self._sock = None
        try:
            self._protocol.connection_lost(error)
        finally:
            sock.close()
