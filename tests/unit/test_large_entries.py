"""Entries that are large: what was claimed comes as bodies only as far as memory allows, and once it is charged."""

from tests.builders import flat, pairs
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Delivery, Left, Outcome, Settled
from worker.domain.orders import Status

LEASE_S = 30
LARGE = "x" * 40_000
BATCH_BYTES = 100_000


def abandoned(bench: Bench, *notes: str, counts: int = 0) -> list[str]:
    """Return entries with such notes that a dead consumer left, each charged with so many."""
    entry_ids = [bench.stream.add(*flat(order_id=f"o{place}", note=note)) for place, note in enumerate(notes)]
    Bench(bench.stream, consumer="dead").orders.read(len(notes), 1)
    assert bench.stream.group is not None
    for entry_id in entry_ids:
        bench.stream.group.pending[entry_id].count = counts
    bench.clock.advance(LEASE_S + 1)
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
