"""Every test here runs in simulated time."""

from collections.abc import Iterator

import pytest

from tests.faults.model.history import simulation


@pytest.fixture(autouse=True)
def simulated() -> Iterator[None]:
    with simulation():
        yield
