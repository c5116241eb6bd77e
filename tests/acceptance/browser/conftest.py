"""One Chromium and one fleet for all that is looked at."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser

from tests.acceptance.browser.browsing import Window, chromium, chromium_found, window
from tests.acceptance.browser.scene import ADMIN_TOKEN, Scene, staged
from tests.conftest import migrated
from tests.harness import Servers
from tests.processes import WorkerProcess
from tests.skips import Reason, skip

Opener: TypeAlias = Callable[..., Window]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium. It ends with the package: as long as it runs, nothing else can run an event loop here."""
    program = chromium_found()
    if program is None:
        skip(Reason.NO_CHROMIUM)
    with chromium(program) as started:
        yield started


@pytest.fixture(scope="package")
def scene(
    browser: Browser,  # noqa: ARG001  without one there is nothing to start a fleet for
    servers: Servers,
    template_database: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """A fleet that has settled orders of each kind."""
    with (
        migrated(servers, template_database) as deployment,
        staged(deployment, tmp_path_factory.mktemp("scene")) as made,
    ):
        yield made


@pytest.fixture
def opened(browser: Browser, scene: Scene) -> Iterator[Opener]:
    """Open windows; in the end none of them may have had anything to complain of."""
    with ExitStack() as stack:
        windows: list[Window] = []

        def open_one(path: str = "/", replica: WorkerProcess | None = None, **options: Any) -> Window:
            address = f"http://127.0.0.1:{(replica or scene.plain).port}"
            made = stack.enter_context(window(browser, address, **options))
            windows.append(made)
            made.open(path)
            return made

        yield open_one
        assert [each for one in windows for each in one.complaints] == []


def sign_in(window: Window, token: str = ADMIN_TOKEN, name: str = "Ada") -> None:
    """Fill the form that stands there, and send it."""
    window.page.fill("#name", name)
    window.page.fill("#token", token)
    window.page.click("main button")
