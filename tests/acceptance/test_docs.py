"""Every command that the documentation shows is run, and what it shows of the output appears."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console_pages import Session, run, sessions
from tests.services.sshd import Farm, open_farm, require_sshd

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


SESSIONS = [
    pytest.param(page, session, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, session in enumerate(sessions(page), 1)
]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("farm"), ("nas", "cluster")) as farm:
        yield farm


@pytest.mark.parametrize(("page", "session"), SESSIONS)
def test_the_commands_of_a_page_do_what_it_shows(
    page: Path, session: Session, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "here"
    if source := session.settings.get("folder"):
        shutil.copytree(ROOT / source, folder)
    else:
        folder.mkdir()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    if names := session.settings.get("machines"):
        farm: Farm = request.getfixturevalue("machines")
        assert set(names.split(",")) <= set(farm.machines)
        env |= farm.write_inventory(tmp_path / "ssh").env
    if name := session.settings.get("postgres"):
        env[name] = request.getfixturevalue("postgres").new_database()
    if name := session.settings.get("rabbit"):
        rabbit = request.getfixturevalue("rabbit")
        vhost = rabbit.vhost()
        request.addfinalizer(lambda: rabbit.remove_vhost(vhost.name))
        env[name] = vhost.url
    run(session, page.relative_to(ROOT), folder, env)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in _LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_configuration_page_names_every_setting() -> None:
    from wlmctl.config import keys

    words = set(re.findall(r"[a-z_]+", (ROOT / "docs/reference/configuration.md").read_text()))
    known = {*keys.TOP, *keys.TLS, *keys.MACHINE, *keys.RESERVED_TOP}
    assert known - words == set()
