"""What several fault tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.supervisor import Supervised, Supervisor
from tests.harness import Deployment


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
