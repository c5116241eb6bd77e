"""What every store does with the rows of orders: inbox, outbox, exact."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle, islice

import pytest

from tests.builders import AT, dead_record, record, trade
from tests.contract.conftest import Stores
from worker.domain.errors import RowRefused
from worker.domain.orders import Labels, OrderRecord, Status

MOST_EXACT = Decimal("9" * 20 + "." + "9" * 30)
LEAST_EXACT = Decimal("0." + "0" * 29 + "1")


def test_record_returns_the_very_object_when_it_was_written(stores: Stores) -> None:
    written = record("a")

    (standing,) = stores.store().record([written])

    assert standing is written


def test_find_returns_the_rows_of_the_given_entries_only(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a", entry_id="1-1"), record("b", entry_id="2-1")])

    found = store.find(["1-1", "3-1"])

    assert found == {"1-1": record("a", entry_id="1-1")}


def test_find_of_nothing_is_nothing(stores: Stores) -> None:
    assert stores.store().find([]) == {}


def test_same_entry_again_returns_the_row_that_stands(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a")])

    (standing,) = store.record([record("a", executed_at=datetime(2030, 1, 1, tzinfo=UTC))])

    assert standing == record("a")


def test_other_entry_of_the_same_order_returns_the_row_of_the_first(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a", entry_id="1-1")])

    (standing,) = stores.store().record([record("a", entry_id="2-1", symbol="OTHER")])

    assert standing == record("a", entry_id="1-1")
    assert store.find(["2-1"]) == {}


def test_same_entry_under_another_order_id_returns_the_row_of_the_entry(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a", entry_id="1-1")])

    (standing,) = store.record([dead_record("orders:1-1", entry_id="1-1")])

    assert standing == record("a", entry_id="1-1")


def test_two_entries_of_one_order_in_a_batch_leave_it_to_the_first(stores: Stores) -> None:
    batch = [record("b", entry_id="1-1"), record("a", entry_id="3-1"), record("a", entry_id="2-1")]

    standing = stores.store().record(batch)

    assert standing[:2] == batch[:2]
    assert standing[1] is batch[1]
    assert standing[2] == batch[1]
    assert standing[2] is not batch[2]


def test_answers_stand_in_the_places_of_the_questions(stores: Stores) -> None:
    store = stores.store()
    store.record([record("m", entry_id="5-1")])
    batch = [record(name, entry_id=f"{n}-2") for n, name in enumerate("zmay")]

    standing = store.record(batch)

    assert [row.order_id for row in standing] == list("zmay")
    assert [row is asked for row, asked in zip(standing, batch, strict=True)] == [True, False, True, True]


def test_trades_are_stored_with_their_order(stores: Stores) -> None:
    store = stores.store()
    fills = (trade("t-1", quantity=Decimal("0.2")), trade("t-2", quantity=Decimal("0.3")))
    written = record("a", trades=fills)

    store.record([written, record("b", entry_id="2-1")])

    assert store.find(["1-1"])["1-1"] == written


def test_trades_of_a_row_that_was_not_written_are_not_stored(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a")])

    store.record([record("a", entry_id="2-1", trades=(trade("another"),))])

    assert store.find(["1-1"])["1-1"].trades == record("a").trades


@pytest.mark.parametrize("amount", [MOST_EXACT, LEAST_EXACT, Decimal("0.30000000000000004"), Decimal("1E+3")])
def test_exact_decimals_survive(stores: Stores, amount: Decimal) -> None:
    store = stores.store()
    fill = trade(quantity=amount, price=amount)
    store.record([record("a", quantity=amount, price=amount, filled_quantity=amount, trades=(fill,))])

    row = store.find(["1-1"])["1-1"]

    assert (row.quantity, row.price, row.filled_quantity) == (amount, amount, amount)
    assert (row.trades[0].quantity, row.trades[0].price) == (amount, amount)


def test_labels_survive_as_sent(stores: Stores) -> None:
    store = stores.store()
    texts = ("  ", "emoji \N{ROCKET} 'quote' \"double\" \\ \n\t %s {0} $1", "", None, "x" * 4096, "é\u2028")
    labels = Labels(*islice(cycle(texts), len(Labels.__struct_fields__)))

    store.record([record("a", labels=labels)])

    assert store.find(["1-1"])["1-1"].labels == labels


def test_rejected_row_keeps_what_is_usable(stores: Stores) -> None:
    store = stores.store()
    rejected = OrderRecord(
        order_id="a",
        entry_id="1-1",
        fingerprint=b"\x01x",
        status=Status.REJECTED,
        executed_at=AT,
        symbol="A",
        error_message="side is missing",
    )

    store.record([rejected])

    assert store.find(["1-1"]) == {"1-1": rejected}


def test_dead_row_is_written_where_there_is_none(stores: Stores) -> None:
    store = stores.store()
    dead = dead_record("a")

    (standing,) = store.record([dead])

    assert standing is dead
    assert store.find(["1-1"]) == {"1-1": dead}


def test_dead_row_does_not_replace_an_order_that_was_filled(stores: Stores) -> None:
    store = stores.store()
    store.record([record("a")])

    (standing,) = store.record([dead_record("a")])

    assert standing == record("a")


REFUSED = {
    "amount of too many places": record("b", entry_id="2-1", price=Decimal("1e-31")),
    "amount that is too large": record("b", entry_id="2-1", price=Decimal("1e20")),
    "amount of zero": record("b", entry_id="2-1", price=Decimal(0)),
    "amount that is no number": record("b", entry_id="2-1", average_price=Decimal("NaN")),
    "amount without end": record("b", entry_id="2-1", average_price=Decimal("Infinity")),
    "filled without a quantity": record("b", entry_id="2-1", filled_quantity=Decimal(0)),
    "filled more than ordered": record("b", entry_id="2-1", filled_quantity=Decimal(1)),
    "rejected with a quantity": record("b", entry_id="2-1", status=Status.REJECTED),
    "filled without a symbol": record("b", entry_id="2-1", symbol=None),
    "stop loss beyond a hundred": record("b", entry_id="2-1", stop_loss_pct=Decimal("100.1")),
    "NUL in a text": record("b", entry_id="2-1", error_message="a\0b"),
    "one trade twice": record("b", entry_id="2-1", trades=(trade("t"), trade("t"))),
    "trade of nothing": record("b", entry_id="2-1", trades=(trade("t", quantity=Decimal(0)),)),
    "trade at no price": record("b", entry_id="2-1", trades=(trade("t", price=Decimal("NaN")),)),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
def test_row_that_is_refused_leaves_nothing_written(stores: Stores, refused: OrderRecord) -> None:
    store = stores.store()

    with pytest.raises(RowRefused):
        store.record([record("a", entry_id="1-1"), refused, record("c", entry_id="3-1")])

    assert store.find(["1-1", "2-1", "3-1"]) == {}


def test_store_works_on_after_a_refused_row(stores: Stores) -> None:
    store = stores.store()
    with pytest.raises(RowRefused):
        store.record([record("a", price=Decimal(0))])

    (standing,) = store.record([record("a")])

    assert standing == record("a")
