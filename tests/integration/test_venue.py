"""A replica whose orders go to a venue: what it does besides filling, and what is left when it drains."""

from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.test_venue import TREATMENTS
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import committing, running
from tests.venue import venue
from worker.bootstrap.parts.execution import MOST_OUTSIDE
from worker.domain.orders import Status


def test_each_way_a_venue_treats_an_order_ends_in_one_result(deployment: Deployment, tmp_path: Path) -> None:
    hows = ["fill", *TREATMENTS.values()]
    orders = numbered_orders(len(hows))
    for how, order in zip(hows, orders, strict=True):
        order["client_id"] = how

    with venue(tmp_path, deduplicating=False) as at:
        deployment.submit(orders)
        with running(deployment, executor="venue", venue_url=at.url) as replica:
            eventually(deployment.all_settled)
            tally = replica.worker.tally

        assert at.book == Counter(order["order_id"] for order in orders)
    rows = {row.labels.client_id: row for row in deployment.rows().values()}
    assert {how for how, row in rows.items() if row.status is Status.REJECTED} == {"reject"}
    partial = rows["partial"]
    assert partial.quantity is not None
    assert partial.filled_quantity * 2 == partial.quantity
    assert_invariants(deployment, tally)
    assert (tally.filled, tally.rejected, tally.dead) == (len(hows) - 1, 1, 0)


def test_no_more_orders_are_taken_at_once_than_a_drain_has_time_for(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(3 * MOST_OUTSIDE))

    with (
        venue(tmp_path, deduplicating=False) as at,
        running(deployment, executor="venue", venue_url=at.url, batch_size=500) as replica,
    ):
        eventually(deployment.all_settled)

    # Counted once it has left: a batch is settled before it is counted.
    assert replica.worker.tally.batches >= 3
    assert_invariants(deployment)


def test_orders_wait_while_the_venue_is_away_and_nobody_is_charged(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(40))
    with venue(tmp_path, deduplicating=False) as at:
        gone = at.url

    with running(deployment, executor="venue", venue_url=gone) as replica:
        # Counted before it is shown.
        eventually(lambda: replica.worker.outage is not None)
        outage = replica.worker.outage

    assert outage is not None
    assert outage.server == "venue"
    assert deployment.published() == []
    assert {row.status for row in deployment.rows().values()} == {Status.SUBMITTED}
    waiting = deployment.redis.xpending_range(deployment.orders, deployment.group, min="-", max="+", count=40)
    assert {each["times_delivered"] for each in waiting} == {0}
    with venue(tmp_path, deduplicating=False) as at:
        with running(deployment, executor="venue", venue_url=at.url):
            eventually(deployment.all_settled)
        assert at.book == Counter(f"order-{number}" for number in range(40))
    assert_invariants(deployment)


def test_order_that_another_group_is_about_to_send_is_sent_once(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(20))

    outside: dict[str, Any] = {"executor": "venue", "lease_ms": 4000, "execute_timeout_s": 1}
    with (
        venue(tmp_path, deduplicating=False) as at,
        committing(deployment, venue_url=at.url, **outside) as (first, pause),
        running(deployment, venue_url=at.url, group=f"{deployment.group}-2", **outside) as second,
    ):
        # It has met the rows by now, and asked for them.
        eventually(lambda: second.worker.tally.batches)
        pause.go_on.set()
        tallies = [each.worker.tally for each in (first, second)]
        # Where the first takes longer than a lease for that, the other takes some of them up.
        eventually(lambda: sum(each.filled for each in tallies) == 20)
        eventually(lambda: sum(each.answered_again for each in tallies) == 20)

    assert at.book == Counter(f"order-{number}" for number in range(20))
    assert len(deployment.published()) == 20
