"""The contract of a transport as tests: subclass ``TransportContract``, give two fixtures, and pytest does the rest.

    class TestMine(TransportContract):
        @pytest.fixture
        def transport(self) -> Iterator[Transport]:
            with my_factory(machine, {}) as transport:
                yield transport

        @pytest.fixture
        def folder(self, transport) -> str:
            ...  # an existing, empty folder on the machine, absolute

Tests of an optional protocol are skipped where the transport does not have it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wlmctl.testing.samples import MTIME_S, ODD_NAMES, content_of, get, info_of, put
from wlmctl.testing.transport_optional import OptionalContract
from wlmctl.testing.transport_required import RequiredContract
from wlmctl.transport import Transport

__all__ = ["MTIME_S", "ODD_NAMES", "TransportContract", "content_of", "get", "info_of", "put"]


class TransportContract(RequiredContract, OptionalContract):
    """Every sentence of ``wlmctl.transport`` about a transport. Fixtures of the subclass: ``transport``, ``folder``."""

    @pytest.fixture
    def transport(self) -> Iterator[Transport]:
        """An open transport, closed after the test."""
        raise NotImplementedError("the subclass gives the fixture 'transport'")

    @pytest.fixture
    def folder(self, transport: Transport) -> str:
        """An existing, empty, absolute folder on the machine."""
        raise NotImplementedError("the subclass gives the fixture 'folder'")
