"""The services as pytest fixtures; ``tests/conftest.py`` offers them to every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.sshd import Farm, open_farm, require_sshd


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Two machines with a shell and SFTP, ``alpha`` and ``beta``, for the whole session."""
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("sshd")) as farm:
        yield farm
