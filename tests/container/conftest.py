"""The image, built once; the stack, up once per module."""

import os
from collections.abc import Iterator

import pytest

from tests.container.stack import IMAGE, ROOT, Stack, run
from tests.harness import eventually
from tests.servers import chosen_kind, docker_answers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "container"):
            item.add_marker(pytest.mark.timeout(600))
            # Forced onto other servers, the run is meant to do without containers.
            wanted = chosen_kind(os.environ) == "docker" or not os.environ.get("SERVERS")
            item.add_marker(
                pytest.mark.skipif(not (wanted and docker_answers()), reason="no Docker engine to use")
            )


@pytest.fixture(scope="session")
def image() -> str:
    run("make", "image")
    return IMAGE


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: ARG001  must be there
    made = Stack(tmp_path_factory.mktemp("stack"))
    try:
        made.up(workers=3)
        eventually(lambda: len(made.containers("worker")) == 3, within=60)
        yield made
    finally:
        made.down()
