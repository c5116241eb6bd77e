"""The page of the fleet, in a browser."""

import signal
from functools import partial

from tests.acceptance.browser.browsing import Window
from tests.acceptance.browser.conftest import Opener
from tests.acceptance.browser.scene import Scene
from tests.harness import eventually

# Longer than a page waits before it asks again.
A_WHILE_MS = 2500
COUNT_CHANGES = """() => {
  window.changes = 0;
  new MutationObserver(() => window.changes++)
    .observe(document.querySelector('[role=status]'), {childList: true, characterData: true, subtree: true});
}"""


def row_of(window: Window, pid: int) -> str:
    """Return what stands beside the replica of a process."""
    rows = window.page.locator("section:has(#replicas) tbody tr").filter(has_text=f"-{pid}-")
    return " ".join(rows.all_inner_texts())


def mark(window: Window) -> None:
    """Mark the page, so that it can be told whether it has been brought up to date."""
    window.ask("() => { document.querySelector('main section').dataset.mark = 'here'; }")


def is_marked(window: Window) -> bool:
    return window.page.locator("[data-mark]").count() == 1


def is_brought_up_to_date(window: Window) -> bool:
    """Whether the page that was marked is another one once a while has passed."""
    window.page.clock.run_for(A_WHILE_MS)
    return not is_marked(window)


def test_fleet_page_comes_to_show_a_replica_as_gone_once_it_was_killed(opened: Opener, scene: Scene) -> None:
    page = opened()
    with scene.third() as third:
        eventually(lambda: "running" in row_of(page, third.pid))

        third.signal(signal.SIGKILL)

        eventually(lambda: "gone" in row_of(page, third.pid), within=30)
    others = [row_of(page, each.pid) for each in (scene.plain, scene.guarded)]
    assert all("running" in each for each in others)


def test_fleet_page_is_whole_without_javascript(opened: Opener, scene: Scene) -> None:
    page = opened(scripts=False)

    assert page.text("h1") == "Fleet"
    assert all("running" in row_of(page, each.pid) for each in (scene.plain, scene.guarded))


def test_refresh_leaves_alone_what_somebody_has_selected(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    page.ask("getSelection().selectAllChildren(document.querySelector('main h2'))")

    page.page.clock.run_for(4 * A_WHILE_MS)

    assert is_marked(page)
    assert page.ask("getSelection().toString()") == page.text("main h2 >> nth=0")
    page.ask("getSelection().removeAllRanges()")
    eventually(partial(is_brought_up_to_date, page))


def test_refresh_leaves_the_focus_where_it_is(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    link = page.page.locator("main a").first
    link.focus()

    page.page.clock.run_for(4 * A_WHILE_MS)

    assert is_marked(page)
    assert link.evaluate("it => it === document.activeElement")


def test_refresh_keeps_what_somebody_types_into_the_search(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    page.page.fill("#find", "order-1")

    eventually(partial(is_brought_up_to_date, page))

    assert page.page.input_value("#find") == "order-1"
    assert page.ask("document.activeElement.id") == "find"


def test_refresh_goes_on_after_a_click_somewhere_on_the_page(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    page.page.click("main h2 >> nth=0")
    assert page.ask("document.activeElement.id") == "main"

    eventually(partial(is_brought_up_to_date, page))


def test_refresh_leaves_what_has_not_changed_where_a_reader_may_be(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    headings = [each.element_handle() for each in page.page.locator("main h2").all()]

    eventually(partial(is_brought_up_to_date, page))

    assert len(headings) > 4
    assert all(each.evaluate("it => it.isConnected") for each in headings)


def test_refresh_says_to_a_screen_reader_what_has_changed_and_nothing_else(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)
    page.ask(COUNT_CHANGES)

    eventually(partial(is_brought_up_to_date, page))
    assert page.page.locator("[aria-live], [role=status], [role=alert]").count() == 1
    assert page.ask("window.changes") == 0

    page.ask("() => { document.querySelector('.verdict p').textContent = 'Something else.'; }")
    eventually(lambda: is_brought_up_to_date(page) and page.ask("window.changes") > 0)
    assert page.text("[role=status]") == page.text(".verdict p >> nth=0")


def test_page_says_that_it_is_old_as_long_as_its_replica_does_not_answer(opened: Opener) -> None:
    page = opened(stands_still=True)
    mark(page)

    page.page.route("**/*", lambda route: route.abort())
    page.page.clock.run_for(A_WHILE_MS)
    page.page.wait_for_selector("main.stale")
    assert "does not answer" in page.text("[role=status]")
    page.page.unroute("**/*")

    eventually(partial(is_brought_up_to_date, page))
    assert page.page.locator("main.stale").count() == 0
    page.complaints.clear()
