"""Entries that are large: as many are read, claimed, and kept to be tried again, as memory allows."""

from collections.abc import Sequence

from tests.builders import flat, pairs
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Delivery, Left, Outcome, Settled, Settlement
from worker.domain.orders import Execution, Order, Status

LEASE_S = 30
LARGE = "x" * 40_000
BATCH_BYTES = 100_000


def abandoned(bench: Bench, *notes: str, counts: int = 0) -> list[str]:
    """Return entries with such notes that a dead consumer left, each charged with so many."""
    entry_ids = [bench.stream.add(*flat(order_id=f"o{place}", note=note)) for place, note in enumerate(notes)]
    bench.abandon(entry_ids, [counts] * len(entry_ids))
    return entry_ids


def left(outcomes: list[Outcome]) -> list[Delivery]:
    return [each.delivery for each in outcomes if isinstance(each, Left)]


def test_claimed_entries_come_without_what_they_hold() -> None:
    bench = Bench()
    abandoned(bench, LARGE, LARGE)

    taken = bench.intake.take()

    assert [(each.fetched, each.fields) for each in taken] == [(False, ())] * 2


def test_no_more_is_brought_at_once_than_a_batch_may_have_bytes() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES)
    entry_ids = abandoned(bench, *[LARGE] * 5)

    outcomes = bench.handle_next()

    assert bench.executor.executed == ["o0", "o1"]
    assert [each.entry_id for each in left(outcomes)] == entry_ids[2:]
    assert [bench.pending[each] for each in entry_ids] == [1, 1, 0, 0, 0], (
        "charged before it is brought, and not else"
    )


def test_all_of_them_are_executed_in_their_order_though_few_fit_at_once() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES)
    abandoned(bench, *[LARGE] * 5)

    bench.run_until(lambda: bench.done)

    assert bench.executor.executed == [f"o{place}" for place in range(5)]
    assert bench.books_balance


def test_what_is_in_hand_already_counts_among_the_bytes() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES)
    abandoned(bench, *[LARGE] * 4)
    first, second, *others = bench.intake.take()
    (brought,) = (each for each in bench.handling.handle([first]) if isinstance(each, Settled))
    in_hand = Delivery(second.entry_id, brought.delivery.fields * 2, 0, charged=False)

    outcomes = bench.handling.handle([in_hand, *others])

    assert [each.entry_id for each in left(outcomes)] == [each.entry_id for each in others]


def test_entry_larger_than_a_batch_comes_alone_and_is_a_letter_without_its_body() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES)
    (small, large) = abandoned(bench, "small", "x" * 200_000)

    bench.run_until(lambda: bench.done)

    letter = bench.stream.letter(large)
    assert letter["reason"] == "too_large"
    assert int(letter["size"]) > 200_000
    assert (len(letter["head"]), "sha256" in letter) == (1024, False)
    assert bench.executor.executed == ["o0"]
    assert small not in bench.pending


def test_what_has_been_charged_too_often_is_brought_for_its_letter_alone_uncharged() -> None:
    bench = Bench(max_deliveries=5)
    (entry_id,) = abandoned(bench, LARGE, counts=5)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, bench.pending[entry_id]) == ("poison", 5)
    assert outcome.delivery.fields == bench.stream.entries[entry_id]
    assert bench.executor.executed == []


def test_what_was_answered_before_is_brought_to_be_compared_uncharged() -> None:
    bench = Bench()
    (entry_id,) = abandoned(bench, "small", counts=1)
    bench.handle_next()
    bench.put_down(entry_id)
    bench.clock.advance(LEASE_S + 1)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert (outcome.answered, bench.pending[entry_id]) == (True, 2)
    assert bench.executor.executed == ["o0"]


def test_what_was_trimmed_before_it_could_be_brought_is_not_charged_and_an_incident_later() -> None:
    bench = Bench()
    (entry_id,) = abandoned(bench, "small")
    taken = bench.intake.take()
    del bench.stream.entries[entry_id]

    outcomes = bench.handling.handle(taken)
    bench.lease.let_go(taken)
    bench.run_until(lambda: bench.stream.letters)

    assert outcomes == []
    assert pairs(bench.stream.letters[0])["reason"] == "trimmed"
    assert bench.rows[f"orders:{entry_id}"].status is Status.DEAD
    assert bench.executor.executed == []


def reads_of(bench: Bench, sizes: Sequence[int]) -> list[int]:
    """Return how many entries each read brings where such are waiting."""
    for place, size in enumerate(sizes):
        bench.submit(f"o{place}", note="x" * size)
    brought = []
    while taken := bench.intake.take():
        brought.append(len(taken))
        bench.orders.settle([Settlement(each.entry_id, "ack") for each in taken])
        bench.lease.let_go(taken)
    return brought


def test_few_are_read_at_first_and_a_quarter_more_each_time() -> None:
    bench = Bench(batch_size=40, first_count=16)

    assert reads_of(bench, [10] * 170) == [16, 21, 27, 34, 40, 32]


def test_no_more_is_read_than_fits_if_it_is_as_large_as_the_last() -> None:
    bench = Bench(batch_size=40, first_count=16, batch_bytes=BATCH_BYTES)

    # Two are 80 % of the bytes.
    assert reads_of(bench, [10] * 16 + [40_000] * 30) == [16, 21, 2, 2, 2, 2, 1]


def test_wall_of_large_entries_does_not_keep_the_reads_behind_it_small() -> None:
    bench = Bench(batch_size=40, first_count=16, batch_bytes=BATCH_BYTES)

    assert reads_of(bench, [40_000] * 17 + [10] * 60) == [16, 2, 2, 3, 4, 6, 8, 11, 14, 11]


def test_batch_that_is_read_ahead_has_no_more_bytes_than_any_other() -> None:
    bench = Bench(batch_size=40, first_count=16, batch_bytes=BATCH_BYTES)
    for place in range(40):
        bench.submit(f"o{place}", note="x" * 40_000)

    bench.handle_next()
    bench.intake.arrive()

    assert len(bench.intake.take()) == 2


def test_no_more_bytes_wait_in_hand_to_be_tried_again_than_a_batch_has() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES, max_deliveries=3)

    def fail(_order: Order) -> Execution:
        raise ValueError("no")

    for place in range(4):
        bench.executor.instead[f"o{place}"] = fail
        bench.submit(f"o{place}", note=LARGE)

    bench.lease.start()
    bench.worker.refill()
    bench.worker.work_through()
    bench.lease.stop()

    assert len(bench.lease.held) == 2
    assert sorted(bench.pending.values()) == [1, 1, 1, 1]
    assert bench.books_balance
