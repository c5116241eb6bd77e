"""What every port does that gives back to the streams: once each, and nothing that is in anybody's hands."""

import pytest
from msgspec.structs import replace

from tests.contract.conftest import Streams
from tests.contract.test_settlement_contract import burial, publication, taken
from worker.consumer.ports import Orders
from worker.domain.deliveries import LOOKED_FOR, Restoration, Settlement
from worker.domain.evidence import Fate
from worker.repair.restorations import restoration_of

KEEP_MS = 60_000


def lost(streams: Streams) -> str:
    """An entry that was settled, as far as its row says, and of which nothing is left."""
    one, (entry_id,) = taken(streams)
    one.settle([Settlement(entry_id, "ack")])
    streams.delete(entry_id)
    return entry_id


def settled_long_ago(streams: Streams) -> tuple[Orders, str]:
    """Somebody who has settled an entry whose mark was dropped since, and the entry."""
    one, (entry_id,) = taken(streams)
    one.settle([publication(entry_id)])
    streams.pass_time(KEEP_MS + 1)
    streams.add(b"symbol", b"B")
    one.read(1, 1)
    one.retain(keep_ms=KEEP_MS, most_results=0)
    return one, entry_id


def test_what_is_lost_is_published_once_however_often_it_is_restored(streams: Streams) -> None:
    entry_id = lost(streams)

    done = [
        streams.mending(name).restore([restoration_of(publication(entry_id))])
        for name in ("one", "two", "one")
    ]

    assert done == [[True], [False], [False]]
    assert [result["entry_id"] for result in streams.results()] == [entry_id]


def test_what_is_lost_is_buried_once_however_often_it_is_restored(streams: Streams) -> None:
    entry_id = lost(streams)

    done = [streams.mending("one").restore([restoration_of(burial(entry_id))]) for _ in range(2)]

    assert done == [[True], [False]]
    assert len(streams.letters()) == 1


def test_what_is_pending_is_left_to_its_owner(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)

    done = streams.mending("two").restore([restoration_of(publication(entry_id))])
    settled = one.settle([publication(entry_id)]).new

    assert (done, settled) == ([False], 1)
    assert len(streams.results()) == 1


def test_what_was_trimmed_while_pending_is_left_to_its_owner(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)
    streams.delete(entry_id)
    one.renew([entry_id])

    done = streams.mending("two").restore([restoration_of(publication(entry_id))])

    assert done == [False]
    assert streams.evidence().fates([entry_id])[entry_id].in_flight


def test_what_was_settled_is_not_published_again(streams: Streams) -> None:
    one, (entry_id,) = taken(streams)
    one.settle([publication(entry_id)])

    done = streams.mending("two").restore([restoration_of(publication(entry_id))])

    assert done == [False]
    assert len(streams.results()) == 1


def test_mark_alone_keeps_a_result_from_going_out(streams: Streams) -> None:
    entry_id = lost(streams)

    marked = streams.mending("two").restore([Restoration(entry_id, "mark")])
    settled = streams.consumer("one").settle([publication(entry_id)]).new

    assert (marked, settled) == ([True], 0)
    assert streams.results() == []


def test_restoring_acks_nothing(streams: Streams) -> None:
    _, (entry_id,) = taken(streams)

    streams.mending("two").restore([restoration_of(publication(entry_id))])

    assert set(streams.pending()) == {entry_id}


def test_what_may_have_been_settled_long_ago_is_left_alone(streams: Streams) -> None:
    one, (settled, later) = taken(streams, 2)
    one.settle([publication(settled)])
    streams.pass_time(KEEP_MS + 1)
    streams.add(b"symbol", b"B")
    one.settle([publication(later)])
    one.read(1, 1)
    one.retain(keep_ms=KEEP_MS, most_results=0)
    before = len(streams.results())

    fate = streams.evidence().fates([settled])[settled]
    done = streams.mending("two").restore([restoration_of(publication(settled))])

    assert fate == Fate(old=True)
    assert fate.settled(0) is None
    assert done == [False]
    assert len(streams.results()) == before


def test_mark_of_a_repair_outlives_retention_as_long_as_that_of_an_entry_of_now(streams: Streams) -> None:
    entry_id = lost(streams)
    streams.pass_time(KEEP_MS + 1)
    one = streams.consumer("one")
    streams.mending("two").restore([restoration_of(publication(entry_id))])
    fresh = streams.add(b"symbol", b"B")
    one.read(1, 1)
    one.settle([publication(fresh)])

    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert {entry_id, fresh} <= streams.marks()


def test_fates_tell_all_states_apart(streams: Streams) -> None:
    one, (settled, pending) = taken(streams, 2)
    one.settle([publication(settled)])
    waiting = streams.add(b"symbol", b"B")

    fates = streams.evidence().fates([settled, pending, waiting, "1-1"])

    assert fates == {
        settled: Fate(marked=True),
        pending: Fate(pending=True),
        waiting: Fate(waiting=True),
        "1-1": Fate(),
    }
    assert [fate.in_flight for fate in fates.values()] == [False, True, True, False]


def test_everything_on_the_stream_waits_when_the_group_is_gone(streams: Streams) -> None:
    _, (entry_id,) = taken(streams)
    streams.destroy_group()

    fates = streams.evidence().fates([entry_id])

    assert fates == {entry_id: Fate(waiting=True)}


def test_entries_come_with_their_fields_where_they_are_there(streams: Streams) -> None:
    there, gone = streams.add(b"symbol", b"A"), streams.add(b"symbol", b"B")
    streams.delete(gone)

    assert streams.evidence().entries([there, gone]) == {there: (b"symbol", b"A")}


def test_settle_names_what_it_leaves_to_those_who_settled_it_long_ago(streams: Streams) -> None:
    one, entry_id = settled_long_ago(streams)

    again = one.settle([publication(entry_id)])

    assert (again.new, again.in_doubt, again.left) == (0, (), (entry_id,))
    assert len(streams.results()) == 1


@pytest.mark.parametrize("since_ms", [0, LOOKED_FOR])
def test_what_is_left_to_others_is_neither_given_out_nor_noted_as_unknown_nor_acked(
    streams: Streams, since_ms: int
) -> None:
    one, entry_id = settled_long_ago(streams)
    asked = [replace(publication(entry_id), stands_since_ms=since_ms), Settlement(entry_id, "unknown")]

    left = [one.settle([each]).left for each in asked]

    assert left == [(entry_id,)] * 2
    assert (len(streams.results()), streams.unknown()) == (1, set())


def test_what_counts_as_settled_long_ago_is_given_out_once_more_where_that_is_asked_for(
    streams: Streams,
) -> None:
    _, entry_id = settled_long_ago(streams)
    again, anew = (restoration_of(each, again=True) for each in (publication(entry_id), burial(entry_id)))
    mending = streams.mending("one")
    mending.begin()

    done = [mending.restore([again]), mending.restore([again])]
    mending.end()
    mending.begin()
    buried = mending.restore([anew])

    assert (done, buried) == ([[True], [False]], [True])
    assert (len(streams.results()), len(streams.letters())) == (2, 1)


def test_decision_about_what_nobody_can_know_is_kept_however_long_it_took(streams: Streams) -> None:
    one, (asked, other) = taken(streams, 2)
    one.settle([publication(other), Settlement(asked, "unknown")])
    streams.pass_time(KEEP_MS + 1)
    streams.add(b"symbol", b"B")
    one.read(1, 1)
    one.retain(keep_ms=KEEP_MS, most_results=0)

    fate = streams.evidence().fates([asked])[asked]
    done = streams.mending("two").restore([Restoration(asked, "mark")])

    assert (fate.old, done) == (True, [True])
    assert streams.unknown() == set()
    assert asked in streams.marks()
