"""The image, built once; the stack, up once per module."""

from collections.abc import Iterator

import pytest

from tests.container.stack import IMAGE, ROOT, Stack, run
from tests.harness import eventually
from tests.skips import skip_without_containers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "container"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def image() -> str:
    skip_without_containers()
    run("make", "image")
    return IMAGE


@pytest.fixture(scope="module")
def stack(
    image: str,  # noqa: ARG001  must be there
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("stack"))
    try:
        made.up(workers=3)
        eventually(lambda: len(made.containers("worker")) == 3, within=60)
        yield made
    finally:
        made.down()
