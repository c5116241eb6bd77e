"""One order and the search, in a browser."""

from pathlib import Path

import pytest

from tests.acceptance.browser.conftest import Opener
from tests.acceptance.browser.scene import CONFLICTING, DEAD, DUPLICATED, FILLED, REJECTED, Scene
from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import workers
from tests.venue import venue
from worker.domain.orders import Status

PENDING = "pending-1"


@pytest.mark.parametrize(
    ("order_id", "said"),
    [
        (FILLED, "exactly one result"),
        (REJECTED, "exactly one result"),
        (DUPLICATED, "exactly one result"),
        (DEAD, "dead"),
        (CONFLICTING, "result"),
    ],
)
def test_page_of_an_order_says_what_became_of_it_to_everybody(
    opened: Opener, order_id: str, said: str
) -> None:
    page = opened(f"/orders/{order_id}")

    assert said in page.text(".verdict").lower()
    assert page.findings() == []
    page.resize(375)
    assert page.overflow() == 0


def test_page_of_a_pending_order_says_that_it_is_in_hand(opened: Opener, scene: Scene) -> None:
    order = {**numbered_orders(1)[0], "order_id": PENDING, "client_id": "poison"}
    scene.deployment.submit([order])

    page = opened(f"/orders/{PENDING}")

    assert "exactly one result" not in page.text(".verdict").lower()
    assert page.findings() == []


def test_page_of_an_order_at_the_venue_says_that_nobody_knows_its_outcome(
    opened: Opener, deployment: Deployment, tmp_path: Path
) -> None:
    with venue(tmp_path, deduplicating=False) as at:
        gone = at.url
    deployment.submit(numbered_orders(1))
    with workers(deployment, tmp_path, 1, executor="venue", venue_url=gone) as (asking,):
        eventually(lambda: [row.status for row in deployment.rows().values()] == [Status.SUBMITTED])

        page = opened("/orders/order-0", asking)

        assert "handed to the venue, and what became of it there is not known yet" in page.text(".verdict")
        assert "SUBMITTED" in page.text()
        assert page.findings() == []


def test_order_is_found_by_its_id_and_by_what_is_known_of_it(opened: Opener) -> None:
    page = opened()
    page.page.fill("#find", REJECTED)
    page.page.keyboard.press("Enter")
    page.page.wait_for_url("**/orders/*")
    assert REJECTED in page.text("h1")

    page.open("/search?status=REJECTED")

    assert page.page.locator("main tbody th").all_inner_texts() == [REJECTED]
    assert page.findings() == []


def test_order_of_which_nothing_is_known_is_said_to_be_unknown(opened: Opener) -> None:
    page = opened("/orders/never-heard-of")

    assert "never-heard-of" in page.text("h1")
    assert page.findings() == []
    page.complaints[:] = [each for each in page.complaints if "404" not in each]
