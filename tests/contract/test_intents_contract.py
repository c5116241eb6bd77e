"""What every store does with intents: a SUBMITTED row gets one outcome, from the entry that owns it."""

from decimal import Decimal
from threading import Thread

import pytest
from msgspec.structs import replace

from tests.builders import AT, dead_record, order, record, trade
from tests.contract.conftest import Stores
from worker.consumer.ports import Store
from worker.domain.errors import RowRefused
from worker.domain.orders import Execution, OrderRecord, Status, record_execution


def intent(order_id: str = "a", *, entry_id: str = "1-1") -> OrderRecord:
    return record_execution(order(order_id, entry_id=entry_id), Execution(Status.SUBMITTED), AT)


def test_intent_is_kept_complete_and_without_an_outcome(stores: Stores) -> None:
    store = stores.store()
    written = intent()

    (standing,) = store.record([written])

    assert standing is written
    assert store.find(["1-1"]) == {"1-1": intent()}


def test_outcome_is_written_with_its_trades_and_returned_as_the_very_object(stores: Stores) -> None:
    store = stores.store()
    store.record([intent("a"), intent("b", entry_id="2-1")])
    outcome = record("a")

    (standing,) = store.resolve([outcome])

    assert standing is outcome
    assert store.find(["1-1", "2-1"]) == {"1-1": record("a"), "2-1": intent("b", entry_id="2-1")}


def test_rejection_is_written_without_a_trade(stores: Stores) -> None:
    store = stores.store()
    store.record([intent()])
    rejected = record_execution(order("a"), Execution(Status.REJECTED, error_message="no margin"), AT)

    store.resolve([rejected])

    assert store.find(["1-1"]) == {"1-1": rejected}


def test_bare_dead_outcome_leaves_the_content_of_the_order_in_its_row(stores: Stores) -> None:
    store = stores.store()
    store.record([intent()])
    bare = replace(
        OrderRecord(
            order_id="a",
            entry_id="1-1",
            fingerprint=intent().fingerprint,
            status=Status.DEAD,
            executed_at=AT,
        ),
        error_message="failed: x",
        dead_reason="failed",
    )

    (standing,) = store.resolve([bare])

    assert standing is bare
    assert store.find(["1-1"]) == {"1-1": dead_record("a", error="failed: x")}


@pytest.mark.parametrize(
    "row",
    [
        record("a", error_message="first"),
        dead_record("a"),
        intent("a", entry_id="9-1"),
        record("a", entry_id="9-1"),
    ],
    ids=["has an outcome", "is dead", "is another's intent", "is another's"],
)
def test_outcome_leaves_a_row_alone_that(stores: Stores, row: OrderRecord) -> None:
    store = stores.store()
    store.record([row])

    (standing,) = store.resolve([record("a", trades=(trade("another"),))])

    assert standing == row
    assert store.find([row.entry_id]) == {row.entry_id: row}


def test_outcome_written_again_is_answered_from_its_row(stores: Stores) -> None:
    store = stores.store()
    store.record([intent()])
    store.resolve([record("a")])

    again = record("a")
    (standing,) = store.resolve([again])

    assert standing == again
    assert standing is not again


def test_outcomes_stand_in_the_places_of_the_questions(stores: Stores) -> None:
    store = stores.store()
    store.record([intent(name, entry_id=f"{n}-1") for n, name in enumerate("zmay")])
    store.resolve([record("m", entry_id="1-1")])
    batch = [record(name, entry_id=f"{n}-1") for n, name in enumerate("zmay")]

    standing = store.resolve(batch)

    assert [row.order_id for row in standing] == list("zmay")
    assert [row is asked for row, asked in zip(standing, batch, strict=True)] == [True, False, True, True]


REFUSED = {
    "filled more than ordered": record("b", entry_id="2-1", filled_quantity=Decimal(1)),
    "filled without a quantity": record("b", entry_id="2-1", filled_quantity=Decimal(0)),
    "one trade twice": record("b", entry_id="2-1", trades=(trade("t"), trade("t"))),
    "trade of nothing": record("b", entry_id="2-1", trades=(trade("t", quantity=Decimal(0)),)),
    "NUL in a text": record("b", entry_id="2-1", error_message="a\0b"),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_outcome_that_is_refused_leaves_every_intent_of_its_batch(
    stores: Stores, refused: OrderRecord
) -> None:
    store = stores.store()
    intents = [intent("a", entry_id="1-1"), intent("b", entry_id="2-1")]
    store.record(intents)

    with pytest.raises(RowRefused):
        store.resolve([record("a", entry_id="1-1"), refused])

    assert list(store.find(["1-1", "2-1"]).values()) == intents


def test_replay_takes_a_dead_row_over_as_an_intent_and_then_owns_its_outcome(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    again = record_execution(order("a", entry_id="2-1"), Execution(Status.SUBMITTED), AT)
    store.record([replace(again, replay_of="1-1")])

    (late,) = store.resolve([record("a", entry_id="1-1")])
    store.resolve([record("a", entry_id="2-1")])

    assert late == again
    assert store.find(["1-1", "2-1"]) == {"2-1": record("a", entry_id="2-1")}


def test_outcomes_of_one_batch_written_by_two_replicas_at_once_are_written_once(stores: Stores) -> None:
    names = [f"o{i}" for i in range(100)]
    stores.store().record([intent(name, entry_id=f"{n}-1") for n, name in enumerate(names)])
    batches = [
        [record(name, entry_id=f"{n}-1", error_message=who) for n, name in enumerate(names)]
        for who in ("first", "second")
    ]
    batches[1].reverse()
    standing: list[list[OrderRecord]] = [[], []]

    def work(place: int, store: Store) -> None:
        standing[place] = store.resolve(batches[place])

    threads = [Thread(target=work, args=(place, stores.store())) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    told = [{row.order_id: row.error_message for row in each} for each in standing]
    assert told[0] == told[1]
    assert len(told[0]) == len(names)


def test_intent_is_taken_up_by_one_where_nobody_has_for_so_long(stores: Stores) -> None:
    store, other = stores.store(), stores.store()
    store.record([intent()])

    assert not other.take_up("1-1", after_s=60)
    assert other.take_up("1-1", after_s=0)
    assert not store.take_up("1-1", after_s=60)
    assert store.find(["1-1"]) == {"1-1": intent()}


def test_intent_from_before_the_clock_was_set_back_is_taken_up_as_one_of_now(stores: Stores) -> None:
    store = stores.store()
    store.record([intent()])
    stores.set_clock_back(3600)

    assert not store.take_up("1-1", after_s=60)
    assert store.take_up("1-1", after_s=0)


def test_row_with_an_outcome_and_row_that_is_not_there_are_taken_up_by_nobody(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a")])

    assert not store.take_up("1-1", after_s=0)
    assert not store.take_up("2-1", after_s=0)
