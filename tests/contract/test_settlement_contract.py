"""How every port to the orders stream settles entries: one result or one letter ever, whatever happens."""

import pytest

from tests.contract.conftest import LEASE_MS, Streams
from worker.consumer.ports import Orders
from worker.domain.deliveries import Settlement

FIELDS = (b"symbol", b"A")


def publication(entry_id: str, **fields: str) -> Settlement:
    given = {"entry_id": entry_id, **fields}
    return Settlement(entry_id, "publish", [part for pair in given.items() for part in pair])


def burial(entry_id: str, *fields: str | bytes) -> Settlement:
    return Settlement(entry_id, "bury", ["entry_id", entry_id, *fields])


def taken(streams: Streams, count: int = 1) -> tuple[Orders, list[str]]:
    entry_ids = [streams.add(*FIELDS) for _ in range(count)]
    one = streams.consumer("one")
    one.read(count, 1)
    return one, entry_ids


def test_settle_publishes_and_acks(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = one.settle([publication(entry_id, status="FILLED", note="é\n'")]).new

    assert new == 1
    assert streams.results() == [{"entry_id": entry_id, "status": "FILLED", "note": "é\n'"}]
    assert streams.pending() == {}


def test_settle_publishes_once_however_often_it_is_called(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = [one.settle([publication(entry_id)]).new for _ in range(3)]

    assert new == [1, 0, 0]
    assert len(streams.results()) == 1


def test_settle_publishes_once_when_the_batch_repeats_an_entry(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = one.settle([publication(entry_id), publication(entry_id)]).new

    assert new == 1
    assert len(streams.results()) == 1


def test_settle_keeps_the_order_of_the_batch(streams: Streams) -> None:
    one, entry_ids = taken(streams, 40)

    one.settle([publication(each) for each in entry_ids])

    assert [result["entry_id"] for result in streams.results()] == entry_ids


def test_settle_buries_bytes_as_they_are(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = one.settle(
        [burial(entry_id, "reason", "undecodable", b"orig:\xff", b"\x00\xfe\n", b"orig:long", b"x" * 70_000)]
    ).new

    assert new == 1
    (letter,) = streams.letters()
    assert letter["reason"] == b"undecodable"
    assert letter["orig:long"] == b"x" * 70_000
    assert b"\x00\xfe\n" in letter.values()
    assert streams.pending() == {}


def test_settle_buries_once_however_often_it_is_called(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = [one.settle([burial(entry_id)]).new for _ in range(2)]

    assert new == [1, 0]
    assert len(streams.letters()) == 1


@pytest.mark.parametrize("first", ["publish", "bury"])
def test_entry_never_has_both_a_result_and_a_letter(streams: Streams, first: str) -> None:
    one, (entry_id,) = taken(streams)
    both = [publication(entry_id), burial(entry_id)]

    for settlement in both if first == "publish" else reversed(both):
        one.settle([settlement])

    assert (len(streams.results()), len(streams.letters())) == ((1, 0) if first == "publish" else (0, 1))


def test_ack_publishes_nothing_and_leaves_no_mark(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    acked = one.settle([Settlement(entry_id, "ack")]).new
    later = one.settle([publication(entry_id)]).new

    assert (acked, later) == (0, 1)
    assert streams.pending() == {}


def test_settle_works_for_an_entry_that_is_not_pending(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)

    new = streams.consumer("one").settle([publication(entry_id)]).new

    assert new == 1


def test_settle_acks_an_entry_that_another_consumer_holds(streams: Streams) -> None:
    _, (entry_id,) = taken(streams)

    streams.consumer("two").settle([publication(entry_id)])

    assert streams.pending() == {}


def test_two_consumers_that_settle_the_same_entry_publish_once(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    new = [
        one.settle([publication(entry_id)]).new,
        streams.consumer("two").settle([publication(entry_id)]).new,
    ]

    assert new == [1, 0]


def test_mark_survives_the_loss_of_the_group(streams: Streams) -> None:
    one, entry_ids = taken(streams, 2)
    one.settle([publication(entry_ids[0]), burial(entry_ids[1])])
    streams.destroy_group()
    one.read(10, 1)
    again = one.read(10, 1)

    new = one.settle([publication(each.entry_id) for each in again]).new

    assert [each.entry_id for each in again] == entry_ids
    assert new == 0
    assert (len(streams.results()), len(streams.letters())) == (1, 1)
    assert streams.pending() == {}


def test_settle_without_a_group_still_publishes(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)
    streams.destroy_group()

    new = one.settle([publication(entry_id)]).new

    assert new == 1


def test_entry_trimmed_in_hand_is_still_published_once(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)
    streams.delete(entry_id)
    one.renew([entry_id])

    new = [one.settle([publication(entry_id)]).new for _ in range(2)]
    streams.pass_time(LEASE_MS)

    assert new == [1, 0]
    assert streams.pending() == {}
    assert one.trimmed(10) == []


def test_settle_of_nothing_does_nothing(streams: Streams) -> None:
    assert streams.consumer("one").settle([]).new == 0


def test_settle_takes_a_whole_batch(streams: Streams) -> None:
    one, entry_ids = taken(streams, 1000)

    new = one.settle([publication(each, client_id="c" * 200) for each in entry_ids]).new

    assert new == 1000
    assert len(streams.results()) == 1000
    assert streams.pending() == {}
