"""What every port to the orders stream finds again (unseen or trimmed entries), and how it leaves."""

from tests.contract.conftest import LEASE_MS, Streams
from worker.consumer.ports import Orders
from worker.domain.deliveries import HEAD_BYTES, Delivery, Fetched, Settlement, Withheld

BATCH_BYTES = 16 << 20
FIELDS = (b"symbol", b"A", b"note", b"\xff\x00", b"note", b"twice")


def test_own_pending_finds_what_arrived_unseen(streams: Streams) -> None:
    known, unseen, of_another = (streams.add(*FIELDS) for _ in range(3))
    one = streams.consumer("one")
    one.read(2, 1)
    streams.consumer("two").read(1, 1)

    found = one.own_pending(10, known={known})

    assert found == [Delivery(unseen, (), 1, False, fetched=False)]
    assert of_another in streams.pending()


def test_own_pending_keeps_the_count_of_what_was_charged_before(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(1, 1)
    one.charge({entry_id: 3})

    found = one.own_pending(10, known=())

    assert found == [Delivery(entry_id, (), 3, False, fetched=False)]


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

    fetched = claimed_and_fetched(two)
    at_once = two.trimmed(10)
    streams.pass_time(LEASE_MS)

    assert fetched.bodies.keys() == {sound}
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
    claimed_and_fetched(two)
    streams.pass_time(LEASE_MS)

    found = two.trimmed(10)

    assert found == [entry_id]


def test_trimmed_entry_of_ones_own_is_no_unseen_delivery_but_an_incident(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.delete(entry_id)

    fetched = one.fetch({each.entry_id: 1 for each in one.own_pending(10, known=())})
    streams.pass_time(LEASE_MS)

    assert fetched == Fetched({})
    assert one.trimmed(10) == [entry_id]


def test_settled_incident_leaves_the_list(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(2)]
    one = streams.consumer("one")
    one.read(10, 1)
    for entry_id in entry_ids:
        streams.delete(entry_id)
    one.fetch(dict.fromkeys(entry_ids, 1))
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


def test_fetching_charges_and_leases_anew_what_is_ours_and_brings_what_it_holds(streams: Streams) -> None:
    ours, known, of_another, settled = (streams.add(*FIELDS) for _ in range(4))
    one = streams.consumer("one")
    one.read(2, 1)
    two = streams.consumer("two")
    two.read(2, 1)
    two.settle([_ack(settled)])
    streams.age(ours)

    fetched = one.fetch({ours: 3, known: None, of_another: 2, settled: 2})

    assert fetched == Fetched({ours: FIELDS, known: FIELDS})
    assert streams.pending() == {ours: ("one", 3), known: ("one", 1), of_another: ("two", 1)}
    assert list(two.claim("0-0", 10).deliveries) == []


def test_fetching_ends_at_the_bytes_of_a_batch_and_leaves_the_rest_uncharged(streams: Streams) -> None:
    large = b"x" * (BATCH_BYTES // 2)
    entry_ids = [streams.add(b"note", large) for _ in range(4)]
    one = streams.consumer("one")
    one.read(10, 1)

    alone = one.fetch(dict.fromkeys(entry_ids, 2))
    beside = one.fetch(dict.fromkeys(entry_ids[1:], 3), beside=BATCH_BYTES // 2)

    assert (list(alone.bodies), alone.left) == (entry_ids[:1], frozenset(entry_ids[1:]))
    assert (list(beside.bodies), beside.left) == ([], frozenset(entry_ids[1:])), (
        "not one of them beside others"
    )
    assert [count for _, count in streams.pending().values()] == [2, 1, 1, 1]


def test_fetching_brings_no_more_than_the_beginning_of_what_is_beyond_a_batch(streams: Streams) -> None:
    small, large = streams.add(*FIELDS), streams.add(b"note", b"x" * BATCH_BYTES, b"symbol", b"A")
    one = streams.consumer("one")
    one.read(10, 1)

    fetched = one.fetch({large: 2, small: 2})

    withheld = Withheld(BATCH_BYTES + len(b"notesymbolA"), 2, b"note" + b"x" * (HEAD_BYTES - len(b"note")))
    assert fetched == Fetched({large: withheld}, frozenset({small}))
    assert streams.pending() == {small: ("one", 1), large: ("one", 2)}


def test_fetching_notes_what_was_trimmed_and_charges_nothing_for_it(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(1, 1)
    streams.delete(entry_id)

    fetched = one.fetch({entry_id: 2})
    at_once = one.trimmed(10)
    streams.pass_time(LEASE_MS)

    assert (fetched, at_once, one.trimmed(10)) == (Fetched({}), [], [entry_id])
    assert streams.pending() == {}


def test_fetching_makes_a_lost_group_anew(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(1, 1)
    streams.destroy_group()

    fetched = one.fetch({entry_id: 2})

    assert fetched == Fetched({})
    assert [each.entry_id for each in one.read(10, 1)] == [entry_id]


def claimed_and_fetched(port: Orders) -> Fetched:
    """Return what a port that claims is brought; what was trimmed is told by then, whichever server it is."""
    return port.fetch({each.entry_id: each.count + 1 for each in port.claim("0-0", 10).deliveries})


def _ack(entry_id: str) -> Settlement:
    return Settlement(entry_id, "ack")
