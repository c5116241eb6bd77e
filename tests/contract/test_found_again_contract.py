"""What every port to the orders stream finds again: entries that arrived unseen or were trimmed; and how it leaves."""

from tests.contract.conftest import LEASE_MS, Streams
from worker.domain.deliveries import Delivery, Settlement

FIELDS = (b"symbol", b"A", b"note", b"\xff\x00", b"note", b"twice")


def test_own_pending_finds_what_arrived_unseen(streams: Streams) -> None:
    known, unseen, of_another = (streams.add(*FIELDS) for _ in range(3))
    one = streams.consumer("one")
    one.read(2, 1)
    streams.consumer("two").read(1, 1)

    found = one.own_pending(10, known={known})

    assert found == [Delivery(unseen, FIELDS, 1, False)]
    assert of_another in streams.pending()


def test_own_pending_keeps_the_count_of_what_was_charged_before(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(1, 1)
    one.charge({entry_id: 3})

    found = one.own_pending(10, known=())

    assert found == [Delivery(entry_id, FIELDS, 3, False)]


def test_own_pending_looks_past_what_is_known(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(7)]
    one = streams.consumer("one")
    one.read(10, 1)

    found = one.own_pending(2, known=set(entry_ids[:4]))

    assert [each.entry_id for each in found] == entry_ids[4:6]


def test_trimmed_entry_is_an_incident_after_the_lease_and_not_before(streams: Streams) -> None:
    trimmed, sound = (streams.add(*FIELDS) for _ in range(2))
    streams.consumer("one").read(10, 1)
    streams.age(trimmed, sound)
    streams.delete(trimmed)
    two = streams.consumer("two")

    page = two.claim("0-0", 10)
    at_once = two.trimmed(10)
    streams.pass_time(LEASE_MS)

    assert [each.entry_id for each in page.deliveries] == [sound]
    assert at_once == []
    assert two.trimmed(10) == [trimmed]
    assert trimmed not in streams.pending()


def test_trimmed_entry_is_no_incident_while_its_owner_renews(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one, two = streams.consumer("one"), streams.consumer("two")
    one.read(1, 1)
    streams.delete(entry_id)
    one.renew([entry_id])
    streams.pass_time(LEASE_MS)
    one.renew([entry_id])

    two.claim("0-0", 10)

    assert two.trimmed(10) == []


def test_trimmed_entry_is_an_incident_when_its_owner_renewed_it_and_died(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one, two = streams.consumer("one"), streams.consumer("two")
    one.read(1, 1)
    streams.delete(entry_id)
    one.renew([entry_id])
    # From 7.0 on that took it off the pending list; before, it goes the way of any abandoned entry.
    if entry_id in streams.pending():
        streams.age(entry_id)
    two.claim("0-0", 10)
    streams.pass_time(LEASE_MS)

    found = two.trimmed(10)

    assert found == [entry_id]


def test_trimmed_entry_of_ones_own_is_no_unseen_delivery_but_an_incident(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.delete(entry_id)

    found = one.own_pending(10, known=())
    streams.pass_time(LEASE_MS)

    assert found == []
    assert one.trimmed(10) == [entry_id]


def test_settled_incident_leaves_the_list(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(2)]
    one = streams.consumer("one")
    one.read(10, 1)
    for entry_id in entry_ids:
        streams.delete(entry_id)
    one.own_pending(10, known=())
    streams.pass_time(LEASE_MS)

    one.settle([_ack(entry_ids[0])])

    assert one.trimmed(10) == [entry_ids[1]]
    assert one.trimmed(0) == []


def test_leave_removes_a_consumer_that_holds_nothing(streams: Streams) -> None:
    streams.add(*FIELDS)
    one = streams.consumer("one")
    (taken,) = one.read(10, 1)
    one.settle([_ack(taken.entry_id)])

    one.leave()

    assert "one" not in streams.consumers()


def test_leave_refuses_while_something_is_pending(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)

    one.leave()

    assert streams.pending() == {entry_id: ("one", 1)}
    assert "one" in streams.consumers()


def _ack(entry_id: str) -> Settlement:
    return Settlement(entry_id, "ack")
