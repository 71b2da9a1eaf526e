"""The far machine that tests of transfers use keeps the contract of transports itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.transfers import Far
from wlmctl.testing.transport import TransportContract
from wlmctl.transport import Transport


class TestFar(TransportContract):
    @pytest.fixture
    def transport(self) -> Any:
        return Far()

    @pytest.fixture
    def folder(self, transport: Transport, tmp_path: Path) -> str:
        return str(tmp_path)
