"""Thousands of generated entries of every class through two replicas: the exact count of each response."""

import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.builders import flat
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.strategies import Case, cases
from worker.bootstrap.replica import Replica
from worker.domain.orders import Status

GENERATED = 1500
GOOD = 500


def generated(count: int) -> list[Case]:
    """Return cases of every class, the same in every run."""
    drawn: list[Case] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases())
    def draw(case: Case) -> None:
        drawn.append(case)

    draw()
    return drawn


def told(*replicas: Replica) -> Counter[str]:
    """What replicas have counted."""
    total: Counter[str] = Counter()
    for each in replicas:
        tally = each.worker.tally
        total += Counter(
            received=tally.received,
            filled=tally.filled,
            rejected=tally.rejected,
            error=tally.error,
            duplicate=tally.duplicate,
            dead=tally.dead,
        )
    return total


def test_every_entry_gets_the_response_of_its_class_and_no_other(deployment: Deployment) -> None:
    drawn = generated(GENERATED)
    entries = [case.named(f"case-{n:05}") for n, case in enumerate(drawn)]
    entries += [flat(**order) for order in numbered_orders(GOOD)]
    orders = [(n, case) for n, case in enumerate(drawn) if case.content is not None]
    again = [case.said_again().named(f"case-{n:05}") for n, case in orders]
    changed = [case.said_again(quantity="1234567.890123").named(f"case-{n:05}") for n, case in orders]
    order = random.Random(1)  # noqa: S311  an order to shuffle into, nothing secret
    order.shuffle(entries)
    later = again + changed
    order.shuffle(later)

    with (
        running(deployment, batch_size=100, paper_success_rate=1) as one,
        running(deployment, batch_size=100, paper_success_rate=1) as other,
    ):
        for fields in entries:
            deployment.add_raw(*fields)
        eventually(deployment.all_settled, within=60)
        for fields in later:
            deployment.add_raw(*fields)
        eventually(deployment.all_settled, within=60)

    expected = Counter(case.response for case in drawn)
    assert set(expected) == {"executed", "rejected", "undecodable", "ambiguous", "too_large"}
    dead = {reason: expected[reason] for reason in ("undecodable", "ambiguous", "too_large")}
    dead["conflict"] = len(changed)
    assert Counter(letter["reason"].decode() for letter in deployment.letters()) == dead
    assert told(one, other) == {
        "received": len(entries) + len(later),
        "filled": expected["executed"] + GOOD,
        "rejected": expected["rejected"],
        "duplicate": len(again),
        "dead": sum(dead.values()),
    }
    assert Counter(row.status for row in deployment.rows().values()) == {
        Status.FILLED: expected["executed"] + GOOD,
        Status.REJECTED: expected["rejected"],
    }
    assert_invariants(deployment, one.worker.tally, other.worker.tally)


def test_letter_of_an_entry_that_is_too_large_is_no_copy_of_it(deployment: Deployment) -> None:
    deployment.add_raw("symbol", "A", "reason", "x" * 1_000_000)

    with running(deployment):
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert (letter["reason"], letter["size"]) == (b"too_large", b"1000013")
    assert letter["head"] == b"symbolAreason" + b"x" * 1011
    assert len(letter["sha256"]) == 64
    assert not any(name.startswith("orig:") for name in letter)
    assert_invariants(deployment)


@pytest.mark.parametrize("timestamp", ["1", "32503680000"])
def test_order_out_of_time_gets_a_rejected_row_and_result(deployment: Deployment, timestamp: str) -> None:
    late, good = numbered_orders(2)
    deployment.submit(
        [{**late, "timestamp": timestamp}, {**good, "timestamp": str(time.time_ns() // 1_000_000)}]
    )

    with running(deployment, max_order_age_s=3600, paper_success_rate=1):
        eventually(deployment.all_settled)

    by_id = {result["order_id"]: result for result in deployment.published()}
    assert by_id["order-0"]["status"] == "REJECTED"
    assert by_id["order-0"]["error_message"].endswith(" s are allowed")
    assert by_id["order-0"]["filled_quantity"] == "0"
    assert by_id["order-1"]["status"] == "FILLED"
    assert_invariants(deployment)
