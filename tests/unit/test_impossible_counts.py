"""Delivery counts that somebody has set and no deliveries have made: nothing is buried without deaths."""

import pytest

from tests.fakes import Bench
from worker.domain.deliveries import LEAST_DEATHS, MOST_DELIVERIES
from worker.domain.orders import Execution, Order, Status

# What XNACK FATAL sets, what one delivery more makes of it, and the least that no delivery of ours makes.
IMPOSSIBLE = [2**63 - 1, -(2**63), MOST_DELIVERIES + 1, -1]
LEASE_S = 31


class Died(BaseException):
    """The process is gone."""


def deadly(_order: Order) -> Execution:
    raise Died


def died(bench: Bench) -> int | None:
    """Let a replica work; return how many orders it had in hand when it died, None where it did not."""
    try:
        bench.run_until(lambda: bench.done)
    except Died:
        bench.lease.stop()
        return len(bench.worker.in_hand)
    return None


def deaths_until_all_is_settled(bench: Bench, max_deliveries: int) -> list[int]:
    """Have one replica after another work; return with how many orders in hand each one died."""
    found = list[int]()
    while bench.pending:
        bench = Bench(
            bench.stream, bench.store.table, consumer=f"worker-{len(found)}", max_deliveries=max_deliveries
        )
        bench.executor.instead["deadly"] = deadly
        if (in_hand := died(bench)) is not None:
            found.append(in_hand)
            bench.clock.advance(LEASE_S)
    return found


@pytest.mark.parametrize("count", IMPOSSIBLE)
@pytest.mark.parametrize("max_deliveries", [3, 4, 5, 12, MOST_DELIVERIES])
def test_order_of_an_impossible_count_is_poison_after_three_deaths_the_last_alone(
    count: int, max_deliveries: int
) -> None:
    bench = Bench(max_deliveries=max_deliveries)
    (deadly_id, *_) = entry_ids = bench.submit("deadly", "b", "c")
    bench.abandon(entry_ids, [count] * 3)

    deaths = deaths_until_all_is_settled(bench, max_deliveries)

    assert len(deaths) == LEAST_DEATHS
    assert deaths[-1] == 1
    assert bench.stream.letter(deadly_id)["reason"] == "poison"
    assert bench.rows["b"].status is bench.rows["c"].status is Status.FILLED


@pytest.mark.parametrize("count", IMPOSSIBLE)
def test_order_of_an_impossible_count_is_executed_where_it_harms_nobody(count: int) -> None:
    bench = Bench(max_deliveries=3)
    entry_ids = bench.submit("a")
    bench.abandon(entry_ids, [count])

    bench.run_until(lambda: bench.done)

    assert bench.executor.executed == ["a"]
    assert len(bench.stream.letters) == 0


def test_count_that_deliveries_may_have_made_under_a_higher_limit_is_believed() -> None:
    bench = Bench(max_deliveries=3)
    (entry_id,) = bench.submit("a")
    bench.abandon([entry_id], [MOST_DELIVERIES])

    bench.run_until(lambda: bench.done)

    assert bench.executor.executed == []
    assert bench.stream.letter(entry_id)["reason"] == "poison"
