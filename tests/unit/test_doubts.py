"""A result that counts as settled long ago, though it was never given out, is looked for and then given out, once."""

from collections.abc import Iterator

import pytest

from tests.fakes import Bench
from worker.domain.deliveries import Settlement
from worker.domain.errors import Outage

FAR_ABOVE = 10**15


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.worker.lease.stop()


def held_through_a_loss(bench: Bench, order_id: str) -> str:
    """An order in hand of which Redis knows nothing any more, and whose time it has put behind itself."""
    (entry_id,) = bench.submit(order_id)
    bench.worker.lease.start()
    bench.worker.refill()
    assert bench.stream.group is not None
    bench.stream.group.pending.clear()
    bench.stream.entries.clear()
    bench.stream.horizon_ms = FAR_ABOVE
    return entry_id


def published(bench: Bench) -> list[str]:
    return [result["order_id"] for result in bench.stream.results]


def test_result_of_an_order_that_redis_has_lost_goes_out(bench: Bench) -> None:
    held_through_a_loss(bench, "a")

    bench.worker.work_through()
    before = published(bench)
    bench.worker.refill()
    bench.worker.refill()

    assert (before, published(bench)) == ([], ["a"])


def test_result_that_others_have_published_meanwhile_does_not_go_out_again(bench: Bench) -> None:
    entry_id = held_through_a_loss(bench, "a")
    bench.stream.results.append({"order_id": "a", "entry_id": entry_id})

    bench.worker.work_through()
    bench.worker.refill()

    assert published(bench) == ["a"]


def test_letter_of_an_entry_that_redis_has_lost_goes_out(bench: Bench) -> None:
    bench.stream.add(b"payload", b"{nonsense")
    bench.worker.lease.start()
    bench.worker.refill()
    assert bench.stream.group is not None
    bench.stream.group.pending.clear()
    bench.stream.horizon_ms = FAR_ABOVE

    bench.worker.work_through()
    assert bench.stream.letters == []
    bench.worker.refill()
    bench.worker.refill()

    (letter,) = bench.stream.letters
    assert "undecodable" in letter


@pytest.mark.parametrize("step", ["begin_walk", "fates", "result_pages", "remember", "end_walk"])
def test_doubt_stays_when_redis_is_away(bench: Bench, step: str) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.orders.faults.plant(step, reply_lost=True)

    with pytest.raises(Outage):
        bench.worker.refill()
    bench.worker.refill()

    assert published(bench) == ["a"]


def test_doubt_is_settled_before_anything_else_is_taken(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.submit("b")

    bench.worker.refill()

    steps = bench.orders.faults.steps
    assert published(bench) == ["a"]
    assert len(steps) - steps[::-1].index("end_walk") < len(steps) - steps[::-1].index("read")


def test_doubt_is_settled_before_a_drain_ends(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.outcomes = bench.handling.handle(bench.worker.in_hand)
    bench.drain.request()

    bench.worker.hand_back()

    assert published(bench) == ["a"]


def test_ack_alone_leaves_no_doubt(bench: Bench) -> None:
    settled = bench.orders.settle([Settlement("1-1", "ack")])

    assert settled.in_doubt == ()


def test_marks_alone_are_asked_while_another_replica_reads_what_was_given_out(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.stream.reader = ("another", bench.clock.milliseconds() + 1_000_000)

    for _ in range(5):
        bench.worker.refill()
        bench.clock.advance(1)

    assert bench.orders.faults.steps.count("fates") == 1
    assert published(bench) == []
