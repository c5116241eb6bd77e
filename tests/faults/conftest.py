"""What several fault tests share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.moving import Place
from tests.faults.supervisor import Supervised, Supervisor
from tests.harness import Deployment, Servers
from tests.scratch import in_memory


@pytest.fixture
def supervised(deployment: Deployment, tmp_path: Path) -> Iterator[Supervised]:
    """Makes supervisors, and ends what they started."""
    made: list[Supervisor] = []

    def make(count: int, *, most_bytes: int | None = None, **overrides: object) -> list[Supervisor]:
        for number in range(count):
            own = tmp_path / f"replica-{number}"
            own.mkdir()
            made.append(Supervisor(deployment, own, most_bytes=most_bytes, **overrides))
        return made

    yield make
    for supervisor in made:
        supervisor.end()


@pytest.fixture
def for_everybody() -> Iterator[Path]:
    """A folder to which the account of a pooler finds its way after its start, too."""
    with TemporaryDirectory(dir=in_memory()) as made:
        yield Path(made)


@pytest.fixture
def place(own_deployment: Deployment) -> Iterator[Place]:
    """The same streams and tables, at other addresses."""
    with ExitStack() as opened:

        def found(redis_url: str, database_url: str) -> Deployment:
            made = opened.enter_context(Deployment(Servers(redis_url, database_url), "own", "postgres"))
            made.accepted = own_deployment.accepted
            return made

        yield found
