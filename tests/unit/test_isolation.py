"""Unexpected errors: whoever causes one is buried or set aside, no replica or neighbour goes down with it."""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import pytest
import structlog

from tests.builders import pairs, record
from tests.fakes import Bench
from worker.consumer import intake
from worker.domain.errors import Outage
from worker.domain.orders import OrderRecord

pytestmark = pytest.mark.usefixtures("short_waits")


class Unheard(Exception):
    """Nobody expects it."""


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(max_deliveries=4)
    yield made
    made.lease.stop()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def fail_at(port: object, step: str, strikes: Callable[..., bool]) -> None:
    """Have a step of a port raise where `strikes` says so of its arguments."""
    act = getattr(port, step)

    def failing(*args: Any, **named: Any) -> Any:
        if strikes(*args, **named):
            raise Unheard(step)
        return act(*args, **named)

    setattr(port, step, failing)


def is_among(*order_ids: str) -> Callable[[Sequence[OrderRecord]], bool]:
    return lambda records: any(each.order_id in order_ids and each.error_message is None for each in records)


def published(bench: Bench) -> set[str]:
    return {each["order_id"] for each in bench.stream.results}


def test_one_that_raises_when_it_is_recorded_is_buried_by_name_and_its_neighbours_are_filled(
    bench: Bench,
) -> None:
    bench.submit("a", "b", "c")
    fail_at(bench.store, "record", is_among("b"))

    bench.run_until(lambda: bench.done)

    assert published(bench) == {"a", "c"}
    (letter,) = bench.stream.letters
    assert b"poison" in _bytes(letter)
    assert b"no outcome after 4 deliveries, the last ended in Unheard: record" in _bytes(letter)
    assert bench.rows["b"].dead_reason == "poison"
    assert bench.books_balance


def test_error_before_the_charge_is_charged_all_the_same(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(31)
    fail_at(bench.store, "find", lambda entry_ids: entry_id in entry_ids)
    counts: list[int] = []
    bench.orders.faults.on_step = lambda step: (
        counts.append(bench.pending[entry_id]) if step == "set aside" else None
    )

    bench.run_until(lambda: bench.stream.aside)

    # One less than it may be charged with: for its last chance.
    assert counts == [3]


def test_one_whose_inbox_can_not_be_asked_is_set_aside_and_has_another_chance_once_it_can(
    bench: Bench, logs: list[MutableMapping[str, Any]]
) -> None:
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(31)
    broken = [True]
    fail_at(bench.store, "find", lambda entry_ids: bool(broken) and entry_id in entry_ids)

    bench.orders.faults.on_step = lambda step: broken.clear() if step == "set aside" else None
    bench.run_until(lambda: bench.done)

    assert bench.stream.aside == {entry_id}
    (told,) = [each for each in logs if str(each["event"]).startswith("set aside")]
    assert (told["entry_id"], told["to_do"]) == (entry_id, f"worker show {entry_id}")
    assert published(bench) == {"a"}
    assert bench.stream.letters == []


def test_replica_that_sets_aside_goes_on_with_all_others(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(31)
    bench.submit("b", "c")
    fail_at(bench.store, "find", lambda entry_ids: entry_id in entry_ids)

    bench.run_until(lambda: bench.stream.aside and len(published(bench)) == 2)

    assert list(bench.pending) == [entry_id]
    assert bench.stream.letters == []


def test_result_that_can_not_be_rendered_is_set_aside_and_costs_its_batch_nothing(bench: Bench) -> None:
    first, *_ = bench.submit("a", "b", "c")
    fail_at(bench.renderer, "result", lambda _delivery, record: record.order_id == "a")

    bench.run_until(lambda: bench.stream.aside)

    assert published(bench) == {"b", "c"}
    assert list(bench.pending) == [first]
    assert bench.stream.letters == []
    assert bench.rows["a"].status == "FILLED"
    assert bench.books_balance


def test_result_that_was_set_aside_is_published_once_it_can_be_rendered(bench: Bench) -> None:
    bench.submit("a")
    broken = [True]
    fail_at(bench.renderer, "result", lambda *_: bool(broken))
    bench.orders.faults.on_step = lambda step: broken.clear() if step == "set aside" else None

    bench.run_until(lambda: bench.done)

    assert published(bench) == {"a"}
    assert bench.tally.answered_again == 1


def test_outage_when_it_is_noted_that_one_is_set_aside_settles_nothing_twice(bench: Bench) -> None:
    bench.submit("a", "b")
    fail_at(bench.renderer, "result", lambda _delivery, record: record.order_id == "a")
    bench.orders.faults.plant("set aside", times=2)

    bench.run_until(lambda: bench.stream.aside)

    assert [each["order_id"] for each in bench.stream.results] == ["b"]
    assert bench.tally.filled == 1
    assert bench.books_balance


def test_trimmed_entry_that_raises_is_found_and_its_neighbours_are_buried(bench: Bench) -> None:
    entry_ids = [f"1-{place}" for place in range(1, 9)]
    bench.stream.trimmed.update(dict.fromkeys(entry_ids, 0))
    fail_at(bench.store, "find", lambda asked: "1-3" in asked)

    bench.run_until(lambda: len(bench.stream.letters) == 7)

    assert sorted(dict(pairs(each))["entry_id"] for each in bench.stream.letters) == [
        each for each in entry_ids if each != "1-3"
    ]


def test_error_that_strikes_whatever_is_handled_is_an_outage_and_charges_nobody(bench: Bench) -> None:
    bench.submit(*(f"o{n}" for n in range(70)))
    broken = [True]
    seen: list[Outage | None] = []
    strikes = [0]

    def strikes_all(_records: Sequence[OrderRecord]) -> bool:
        strikes[0] += 1
        if strikes[0] > 300:
            bench.drain.request()
        return broken[0]

    fail_at(bench.store, "record", strikes_all)

    def heal_after_a_while(step: str) -> None:
        if step != "ping" or len(seen) > 20:
            return
        seen.append(bench.worker.outage)
        if len(seen) == 20:
            broken[0] = False
            counts.update(bench.pending)

    counts: dict[str, int] = {}
    bench.orders.faults.on_step = heal_after_a_while
    bench.run_until(lambda: bench.done)

    assert len(published(bench)) == 70
    assert bench.stream.letters == []
    assert set(counts.values()) == {0}
    assert str(seen[-1]) == "worker: whatever is handled ends in Unheard: record"
    assert bench.worker.outage is None
    assert bench.books_balance


def test_little_is_taken_while_an_error_strikes_whatever_is_handled(bench: Bench) -> None:
    bench.submit("a", "b")
    broken = [True]
    pings = [0]
    most = [0]
    fail_at(bench.store, "record", lambda _records: broken[0])

    def submit_more(step: str) -> None:
        if step == "ping" and broken[0]:
            pings[0] += 1
            bench.submit(f"more-{pings[0]}")
            most[0] = max(most[0], len(bench.pending))
            broken[0] = pings[0] < 60

    bench.orders.faults.on_step = submit_more
    bench.run_until(lambda: bench.done)

    assert most[0] <= intake.SECOND_DELIVERY_GROUP + 1
    assert len(published(bench)) == 62
    assert bench.stream.letters == []


def test_two_that_raise_are_both_buried_while_others_come_in_between(bench: Bench) -> None:
    bench.submit("x", "y")
    fail_at(bench.store, "record", is_among("x", "y"))
    sound = [0]

    def submit_another(step: str) -> None:
        if step in {"ping", "read"} and len(bench.stream.letters) != 2:
            sound[0] += 1
            bench.submit(f"sound-{sound[0]}")
            bench.clock.advance(0.2)

    bench.orders.faults.on_step = submit_another
    bench.run_until(lambda: bench.done)

    assert {order_id for order_id, row in bench.rows.items() if row.dead_reason} == {"x", "y"}
    assert len(published(bench)) == sound[0]


def test_outage_of_redis_when_an_error_is_charged_keeps_what_is_in_hand(bench: Bench) -> None:
    bench.submit("a", "b")
    struck = [1]

    def strikes_once(_records: Sequence[OrderRecord]) -> bool:
        struck[0] -= 1
        return struck[0] >= 0

    fail_at(bench.store, "record", strikes_once)
    bench.orders.faults.plant("charge", times=2)

    bench.run_until(lambda: bench.done)

    assert published(bench) == {"a", "b"}
    assert bench.books_balance


def test_row_that_can_not_be_repaired_is_skipped_and_told(
    bench: Bench, logs: list[MutableMapping[str, Any]]
) -> None:
    bench.clock.advance(10)
    for number, order_id in enumerate(("a", "b", "c"), start=1):
        bench.rows[order_id] = record(order_id, entry_id=f"{number}-1", executed_at=bench.clock.now())
    bench.clock.advance(10)
    fail_at(bench.renderer, "result", lambda _delivery, record: record.order_id == "b")

    bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == {"a", "c"}
    assert bench.mending.notes[-1]["skipped"] == "1"
    assert [each["event"] for each in logs if each["event"] == "not repaired"] == ["not repaired"]


@pytest.mark.parametrize("chore", ["registration.go_on", "retention.tidy_up", "repair.go_on"])
def test_chore_that_raises_is_told_of_now_and_then_and_orders_go_on(
    bench: Bench, logs: list[MutableMapping[str, Any]], chore: str
) -> None:
    part, step = chore.split(".")
    fail_at(getattr(bench.worker, part), step, lambda **_: True)
    bench.submit("a")
    began = bench.clock.seconds

    bench.run_until(lambda: bench.clock.seconds > began + 25)

    told = [each for each in logs if each["event"] == "unexpected error beside the orders"]
    assert published(bench) == {"a"}
    assert {each["at"] for each in told} == {part}
    assert 2 <= len(told) <= 4
    assert bench.tally.unexpected == len(told)


def _bytes(fields: Sequence[str | bytes]) -> bytes:
    return b" ".join(each if isinstance(each, bytes) else each.encode() for each in fields)
