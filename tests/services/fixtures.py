"""The services as pytest fixtures; ``tests/conftest.py`` offers them to every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.services.docker import docker_works
from tests.services.fake_queue import FakeQueue
from tests.services.gridengine import GridEngine, open_gridengine, require_gridengine
from tests.services.postgres import Server, native_server
from tests.services.rabbitmq import Rabbit, Vhost, require
from tests.services.slurm import Slurm, open_slurm, require_slurm
from tests.services.sshd import Farm, open_farm, require_sshd


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Two machines with a shell and SFTP, ``alpha`` and ``beta``, for the whole session."""
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("sshd")) as farm:
        yield farm


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """What pytest-docker starts."""
    return str(Path(__file__).with_name("compose.yaml"))


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A PostgreSQL server for the whole session: of WLMCTL_TEST_POSTGRES_URL, of Docker, or a private process."""
    url = os.environ.get("WLMCTL_TEST_POSTGRES_URL")
    if url:
        yield Server(url)
    elif docker_works():
        docker = request.getfixturevalue("docker_services")
        server = Server(f"postgresql://wlm:wlm@{docker._docker_ip}:{docker.port_for('postgres', 5432)}/postgres")
        docker.wait_until_responsive(timeout=60, pause=0.2, check=lambda: _answers(server))
        yield server
    else:
        with native_server() as server:
            yield server


def _answers(server: Server) -> bool:
    with suppress(Exception):
        server.execute("SELECT 1")
        return True
    return False


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Gives URLs of stores that are not made yet; the test runs once with each kind."""
    with store_urls(request, request.param, tmp_path) as give:
        yield give


@pytest.fixture
def store_url(new_store: Callable[[], str]) -> str:
    """The URL of one store that is not made yet."""
    return new_store()


@contextmanager
def store_urls(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[Callable[[], str]]:
    """Gives URLs of stores of that kind; what they name is removed at the end."""
    made: list[str] = []
    server: Server | None = request.getfixturevalue("postgres") if kind == "postgresql" else None

    def give() -> str:
        made.append(server.new_database() if server else f"sqlite:///{folder}/store-{len(made)}.db")
        return made[-1]

    yield give
    if server:
        for url in made:
            server.drop(url)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm with two nodes of 8 CPUs for one file of tests, which may kill its daemons."""
    require_slurm()
    with open_slurm(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture(scope="module")
def cluster(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """The Slurm's login node, ``cluster``: an sshd whose logins find Slurm's commands."""
    require_sshd()
    with open_farm(tmp_path_factory.mktemp("login"), names=["cluster"]) as farm:
        slurm.greet(farm["cluster"])
        yield farm


@pytest.fixture(scope="module")
def gridengine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridEngine]:
    """A Grid Engine with one host of 16 slots for one file of tests."""
    require_gridengine()
    with open_gridengine(tmp_path_factory.mktemp("gridengine")) as engine:
        yield engine


@pytest.fixture(
    params=["openpbs", pytest.param("torque", marks=pytest.mark.long), pytest.param("lsf", marks=pytest.mark.long)]
)
def fake_queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeQueue]:
    """Each of the systems that there is no real one of, for one test."""
    queue = FakeQueue(tmp_path / "queue", request.param)
    yield queue
    queue.close()


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """A RabbitMQ for the whole session; each test takes a ``vhost()`` of its own."""
    with require(tmp_path_factory.mktemp("rabbitmq")) as rabbit:
        yield rabbit


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[Vhost]:
    """A vhost of this test alone, with a user of its own."""
    vhost = rabbit.vhost()
    yield vhost
    rabbit.remove_vhost(vhost.name)
