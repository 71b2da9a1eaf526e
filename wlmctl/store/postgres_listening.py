"""Hearing of the commits of others in PostgreSQL by ``LISTEN``, on a connection and a thread of its own.

A notification travels with the commit that it tells of. None is relied on: the connection may be lost, or shared with
others by a pooler that drops what comes between two transactions. So whoever listens looks as often as if nobody told
anything, until it has heard something on this connection.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

from wlmctl.errors import StoreError
from wlmctl.store.patience import FIRST_S
from wlmctl.store.postgres_connection import connect

log = logging.getLogger(__name__)

#: The channel, and what a transaction runs to tell of its commit.
CHANNEL = "wlmctl"
TELL = f"pg_notify('{CHANNEL}', '')"

#: The longest pause, in seconds, before a lost connection is made again.
LONGEST_S = 5.0

#: Seconds to wait for the end of the thread, which may be waiting for a server that does not answer.
CLOSE_S = 1.0


class Listening:
    """Calls ``told`` after each commit that it hears of; ``is_heard`` while that is known to work."""

    def __init__(self, url: str, password: str | None, told: Callable[[], None]) -> None:
        self._url, self._password, self._told = url, password, told
        self.is_heard = False
        self._ended = threading.Event()
        self._line, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listening", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear nothing more."""
        self._ended.set()
        self._end.close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        pause_s = FIRST_S
        while not self._ended.wait(pause_s):
            try:
                with closing(connect(self._url, self._password)) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    pause_s = FIRST_S
                    self._hear(connection)
            except (psycopg.Error, StoreError) as error:
                log.debug("nothing is heard from the store: %s", error)
            self.is_heard = False
            pause_s = min(2 * pause_s, LONGEST_S)
        self._line.close()

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        """Until the end, or ``psycopg.OperationalError`` when the connection is lost."""
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._line, selectors.EVENT_READ)
            while True:
                selector.select()
                if self._ended.is_set():
                    return
                connection.pgconn.consume_input()
                is_told = False
                while connection.pgconn.notifies() is not None:  # many may have come together
                    is_told = True
                if is_told:
                    self.is_heard = True
                    self._told()
