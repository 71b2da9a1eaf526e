"""The transports that tests of transfers are made of keep the contract themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far, Narrow, this_host
from wlmctl.testing.transport import TransportContract
from wlmctl.transport import Transport


class OnDisk(TransportContract):
    @pytest.fixture
    def folder(self, transport: Transport, tmp_path: Path) -> str:
        return str(tmp_path)


class TestFar(OnDisk):
    @pytest.fixture
    def transport(self) -> Any:
        return Far()


class TestNarrow(OnDisk):
    @pytest.fixture
    def transport(self) -> Any:
        return Narrow(this_host())
