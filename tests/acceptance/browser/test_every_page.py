"""What holds for each page: it is read on any width, by any means, and the console stays empty."""

from itertools import pairwise

import pytest

from tests.acceptance.browser.browsing import NARROW, WIDE, Window
from tests.acceptance.browser.conftest import Opener
from tests.acceptance.browser.scene import FILLED, Scene
from tests.harness import eventually

PAGES = ["/", "/nowhere", "/dead?state=all", f"/orders/{FILLED}", "/search?status=FILLED"]
# Only where there is something to sign in for.
GUARDED = ["/sign-in"]
HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4')].map(it => Number(it.tagName[1]))"
LANDMARKS = (
    "['header', 'nav', 'main', 'footer', '[role=search]'].map(it => document.querySelectorAll(it).length)"
)
INJECT = """() => {
  const script = document.createElement('script');
  script.textContent = 'window.injected = true';
  document.body.append(script);
  const image = document.createElement('img');
  image.setAttribute('onerror', 'window.injected = true');
  image.src = '/static/none.png';
  document.body.append(image);
}"""


@pytest.fixture
def show(opened: Opener, scene: Scene) -> Opener:
    """Open a page at the replica that has it."""

    def open_one(path: str, **options: object) -> Window:
        made = opened(path, scene.guarded if path in GUARDED else scene.plain, **options)
        # Nothing but that, where nothing is.
        made.complaints[:] = [each for each in made.complaints if "404" not in each]
        return made

    return open_one


@pytest.mark.parametrize("path", [*PAGES, *GUARDED])
def test_page_has_no_serious_finding_of_axe_in_light_and_dark_wide_and_narrow(
    show: Opener, path: str
) -> None:
    page = show(path)
    assert page.findings() == []

    page.page.emulate_media(color_scheme="dark")
    page.resize(NARROW)

    assert page.findings() == []


@pytest.mark.parametrize("path", [*PAGES, *GUARDED])
def test_page_is_as_wide_as_its_window_and_no_wider(show: Opener, path: str) -> None:
    page = show(path)

    too_wide = {}
    for width in (320, NARROW, 768, WIDE, 2560):
        page.resize(width)
        too_wide[width] = page.overflow()

    assert set(too_wide.values()) == {0}, too_wide


@pytest.mark.parametrize("path", [*PAGES, *GUARDED])
def test_page_is_worked_by_keyboard_and_shows_where_one_is(show: Opener, path: str) -> None:
    page = show(path, stands_still=True)

    steps = page.tab_through()

    assert [each["number"] for each in steps] == list(range(len(steps)))
    assert [each for each in steps if not (each["outlined"] and each["seen"])] == []
    page.page.locator("a.skip").press("Enter")
    assert page.ask("document.activeElement.id") == "main"
    page.page.keyboard.press("Tab")
    assert page.ask("document.activeElement.closest('header')") is None


@pytest.mark.parametrize("path", [*PAGES, *GUARDED])
def test_page_has_its_headings_in_order_and_one_of_each_landmark(show: Opener, path: str) -> None:
    page = show(path)

    levels = page.ask(HEADINGS)

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.ask(LANDMARKS) == [1] * 5


def test_dark_and_light_are_told_apart(show: Opener) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = show("/")

    light = page.ask(ground)
    page.page.emulate_media(color_scheme="dark")
    dark = page.ask(ground)

    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 22, 26)")


def test_script_that_got_into_a_page_does_not_run(show: Opener) -> None:
    page = show("/")

    with page.page.expect_console_message(lambda each: "Content Security Policy" in each.text):
        page.ask(INJECT)
    # Asked again from here: what asks by itself in the page is kept from that by the policy, too.
    eventually(lambda: page.ask("document.querySelector('body > img').complete"))

    assert page.ask("'injected' in window") is False
    page.complaints.clear()
