"""What every store does with a replay: it takes over the DEAD row it replays, once, and no other row."""

import pytest
from msgspec.structs import replace

from tests.builders import dead_record, record
from tests.contract.conftest import Stores
from worker.domain.orders import OrderRecord, Status


def replay(order_id: str = "a", *, entry_id: str = "2-1", of: str = "1-1", **changes: object) -> OrderRecord:
    return record(order_id, entry_id=entry_id, replay_of=of, **changes)


def kept(row: OrderRecord) -> OrderRecord:
    """As it is read back."""
    return replace(row, replay_of=None)


def test_replay_takes_over_the_dead_row_of_what_it_replays(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    again = replay(symbol="OTHER", fingerprint=b"\x01" + bytes(31) + b"\x07")

    (standing,) = store.record([again])

    assert standing is again
    assert store.find(["1-1", "2-1"]) == {"2-1": kept(again)}


def test_replay_without_a_row_to_take_over_is_written_as_any_other(stores: Stores) -> None:
    (standing,) = stores.store().record([replay()])

    assert standing.status is Status.FILLED
    assert stores.store().find(["2-1"]) == {"2-1": kept(replay())}


@pytest.mark.parametrize(
    "row", [record("a", entry_id="1-1"), dead_record("a", entry_id="0-1")], ids=["not dead", "of another"]
)
def test_replay_leaves_a_row_alone_that_is(stores: Stores, row: OrderRecord) -> None:
    store = stores.store()
    store.record([row])

    (standing,) = store.record([replay()])

    assert standing == row
    assert store.find(["2-1"]) == {}


def test_second_replay_of_one_entry_gets_the_row_of_the_first(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    first, second = replay(entry_id="2-1"), replay(entry_id="3-1")

    at_once = store.record([first, second])
    later = store.record([replay(entry_id="4-1")])

    assert at_once[0] is first
    assert [at_once[1], *later] == [kept(first), kept(first)]


def test_replay_recorded_again_is_answered_from_its_row(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    store.record([replay()])

    (standing,) = store.record([replay()])

    assert standing == kept(replay())


def test_replay_that_is_given_up_too_owns_the_dead_row_and_can_be_replayed(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    again = replace(dead_record("a", entry_id="2-1", error="failed: still"), replay_of="1-1")
    store.record([again])

    store.record([replay(entry_id="3-1", of="2-1")])

    assert store.find(["1-1", "2-1", "3-1"]) == {"3-1": kept(replay(entry_id="3-1"))}


def test_buried_entry_that_comes_again_gets_the_row_of_its_replay(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("a", entry_id="1-1")])
    store.record([replay()])

    (standing,) = store.record([record("a", entry_id="1-1")])

    assert standing == kept(replay())


def test_replays_and_new_orders_share_a_batch(stores: Stores) -> None:
    store = stores.store()
    store.record([dead_record("b", entry_id="1-1")])
    batch = [record("c", entry_id="4-1"), replay("b", entry_id="2-1"), record("a", entry_id="3-1")]

    standing = store.record(batch)

    assert all(row is asked for row, asked in zip(standing, batch, strict=True))
    assert store.find(["2-1"])["2-1"].trades == record("b").trades


def test_replay_whose_entry_owns_another_row_is_answered_from_that(stores: Stores) -> None:
    store = stores.store()
    nameless = replace(dead_record("orders:2-1", entry_id="2-1"), fingerprint=b"")
    store.record([dead_record("a", entry_id="1-1"), nameless])

    (standing,) = store.record([replay()])

    assert standing == nameless
