"""A PostgreSQL of a module's own, whose tests kill it or cut it off, and a new database in it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.postgres import NativeServer, native_server


@pytest.fixture(scope="module")
def server() -> Iterator[NativeServer]:
    with native_server() as server:
        yield server


@pytest.fixture
def url(server: NativeServer) -> Iterator[str]:
    server.start()
    url = server.new_database()
    yield url
    server.start()
    server.drop(url)
