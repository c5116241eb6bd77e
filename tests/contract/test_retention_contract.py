"""What every port to the orders stream lets go of, and what it keeps whatever its age."""

from collections.abc import Callable

import pytest

from tests.contract.conftest import Streams
from tests.contract.test_settlement_contract import burial, publication
from tests.skips import Reason, skip
from worker.consumer.ports import Orders
from worker.domain.deliveries import Settlement
from worker.domain.retention import Lost, Retained

KEEP_MS = 60_000
NODE = 100


@pytest.fixture
def counting(streams: Streams) -> Streams:
    """Streams of a server that counts what was added and read: what was lost unread can be known."""
    if not streams.counts_added:
        skip(Reason.COUNTS_NOTHING_ADDED)
    return streams


def test_orders_that_every_group_has_acked_are_trimmed_at_their_age(streams: Streams) -> None:
    one = streams.consumer("one")
    settled_orders(streams, one, 3)
    streams.pass_time(KEEP_MS)
    young = settled_orders(streams, one, 2)
    at_their_age = one.retain(keep_ms=KEEP_MS, most_results=0)
    streams.pass_time(1)

    beyond_it = one.retain(keep_ms=KEEP_MS, most_results=0)

    assert at_their_age == Retained()
    assert beyond_it == Retained(orders=3, marks=3)
    assert streams.entries() == young


def test_retention_of_nothing_new_does_nothing(streams: Streams) -> None:
    one = streams.consumer("one")
    settled_orders(streams, one, 3)
    streams.pass_time(KEEP_MS)
    young = settled_orders(streams, one, 1)
    streams.pass_time(1)
    one.retain(keep_ms=KEEP_MS, most_results=0)

    again = streams.consumer("two").retain(keep_ms=KEEP_MS, most_results=0)

    assert again == Retained()
    assert streams.entries() == young


def test_orders_are_kept_for_ever_when_asked_to(streams: Streams) -> None:
    one = streams.consumer("one")
    kept = settled_orders(streams, one, 3)
    streams.pass_time(365 * 86_400_000)

    done = one.retain(keep_ms=0, most_results=0)

    assert done == Retained()
    assert streams.entries() == kept


def test_whole_nodes_of_old_orders_are_trimmed_and_the_rest_of_the_last_one_too(streams: Streams) -> None:
    one = streams.consumer("one")
    old = settled_orders(streams, one, 5 * NODE // 2)

    streams.pass_time(KEEP_MS + 1)
    done = one.retain(keep_ms=KEEP_MS, most_results=0)

    assert done.orders == len(old) - 1
    assert streams.entries() == old[-1:], "the last delivered one keeps its place"


def test_pending_order_is_kept_with_all_after_it(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = add(streams, 6)
    one.read(10, 1)
    one.settle([publication(each) for each in (*entry_ids[:2], *entry_ids[3:])])
    streams.pass_time(10 * KEEP_MS)

    done = one.retain(keep_ms=KEEP_MS, most_results=0)

    assert done.orders == 2
    assert streams.entries() == entry_ids[2:]


def test_undelivered_orders_are_kept(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = add(streams, 6)
    taken = one.read(3, 1)
    one.settle([publication(each.entry_id) for each in taken])
    streams.pass_time(10 * KEEP_MS)

    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert streams.entries() == entry_ids[2:]
    assert [each.entry_id for each in one.read(10, 1)] == entry_ids[3:]


def test_nothing_is_trimmed_before_the_group_has_read_anything(streams: Streams) -> None:
    entry_ids = add(streams, 3)
    streams.pass_time(10 * KEEP_MS)

    streams.consumer("one").retain(keep_ms=KEEP_MS, most_results=0)

    assert streams.entries() == entry_ids


def test_orders_that_another_group_has_not_read_are_kept(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = settled_orders(streams, one, 6)
    streams.lag_behind("second", read=3, acked=3)
    streams.pass_time(10 * KEEP_MS)

    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert streams.entries() == entry_ids[2:]


def test_orders_that_another_group_has_not_acked_are_kept(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = settled_orders(streams, one, 6)
    streams.lag_behind("second", read=5, acked=1)
    streams.lag_behind("third", read=6, acked=6)
    streams.pass_time(10 * KEEP_MS)

    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert streams.entries() == entry_ids[1:]


def test_mark_is_kept_while_another_group_holds_its_entry_though_that_is_gone(streams: Streams) -> None:
    one = streams.consumer("one")
    (first,) = settled_orders(streams, one, 1)
    # Marks are dropped by the millisecond.
    streams.pass_time(1000)
    settled_orders(streams, one, 2)
    streams.lag_behind("second", read=3, acked=0)
    streams.delete(first)
    streams.pass_time(10 * KEEP_MS)

    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert first in streams.marks()


def test_mark_is_kept_while_its_entry_is_noted_as_trimmed(streams: Streams) -> None:
    one = streams.consumer("one")
    (first,) = settled_orders(streams, one, 1)
    streams.pass_time(1000)
    (second,) = settled_orders(streams, one, 1)
    streams.destroy_group()
    one.ensure_group()
    one.read(1, 1)
    streams.delete(first)
    one.fetch({first: 2})
    one.settle([publication(each.entry_id) for each in one.read(10, 1)])
    streams.pass_time(10 * KEEP_MS)

    while_noted = one.retain(keep_ms=KEEP_MS, most_results=0).marks
    asked_about = one.trimmed(10)
    settling = one.settle([publication(first)])
    one.retain(keep_ms=KEEP_MS, most_results=0)

    assert (while_noted, asked_about) == (0, [first])
    assert (settling.new, settling.in_doubt) == (0, ())
    assert streams.marks() == {second}, "no entry that comes again, no mark"


def test_nothing_is_trimmed_while_our_group_is_missing(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = settled_orders(streams, one, 6)
    streams.lag_behind("second", read=6, acked=6)
    streams.destroy_group()
    streams.pass_time(10 * KEEP_MS)

    done = one.retain(keep_ms=KEEP_MS, most_results=0)

    assert done == Retained()
    assert streams.entries() == entry_ids
    assert streams.marks() == set(entry_ids)


def test_nothing_is_trimmed_after_our_group_was_made_anew_and_marks_still_tell(streams: Streams) -> None:
    one = streams.consumer("one")
    entry_ids = settled_orders(streams, one, 6)
    streams.destroy_group()
    one.ensure_group()
    streams.pass_time(10 * KEEP_MS)

    one.retain(keep_ms=KEEP_MS, most_results=0)
    again = [each.entry_id for each in one.read(10, 1)]
    new = one.settle([publication(each) for each in again]).new

    assert again == entry_ids
    assert new == 0


def test_marks_are_kept_as_long_as_their_entries(streams: Streams) -> None:
    one = streams.consumer("one")
    (deleted,) = settled_orders(streams, one, 1)
    streams.pass_time(1000)
    kept = settled_orders(streams, one, 2)
    streams.delete(deleted)

    done = one.retain(keep_ms=0, most_results=0)

    assert done == Retained(marks=1)
    assert streams.marks() == set(kept)


def test_marks_are_kept_while_something_older_is_pending(streams: Streams) -> None:
    one = streams.consumer("one")
    pending = streams.add(b"symbol", b"A")
    one.read(1, 1)
    streams.pass_time(1000)
    settled = settled_orders(streams, one, 1)
    streams.pass_time(1000)
    settled_orders(streams, one, 1)
    streams.delete(pending)
    streams.delete(settled[0])

    done = one.retain(keep_ms=0, most_results=0)

    assert done == Retained()
    assert settled[0] in streams.marks()


def test_entry_whose_mark_was_dropped_is_not_settled_again_by_a_late_sleeper(streams: Streams) -> None:
    sleeper, owner = streams.consumer("sleeper"), streams.consumer("owner")
    entry_id = streams.add(b"symbol", b"A")
    sleeper.read(1, 1)
    streams.age(entry_id)
    owner.claim("0-0", 1)
    owner.settle([publication(entry_id)])
    streams.pass_time(KEEP_MS)
    settled_orders(streams, owner, 1)
    streams.pass_time(1)
    owner.retain(keep_ms=KEEP_MS, most_results=0)

    settlings = [sleeper.settle([each(entry_id)]) for each in (publication, burial)]

    assert entry_id not in streams.marks()
    assert [(each.new, each.left) for each in settlings] == [(0, (entry_id,))] * 2
    assert (len(streams.results()), streams.letters()) == (2, [])


STAY_MS = 10 * KEEP_MS


def test_marks_stay_for_a_while_after_their_entries_have_gone_for_good(streams: Streams) -> None:
    one = streams.consumer("one", marks_stay_ms=STAY_MS)
    (first,) = settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)

    dropped = []
    for _ in range(2):
        dropped.append(one.retain(keep_ms=0, most_results=0).marks)
        streams.pass_time(STAY_MS - 1)
        dropped.append(one.retain(keep_ms=0, most_results=0).marks)
        streams.pass_time(1)

    assert dropped == [0, 0, 1, 0]
    assert first not in streams.marks()


def test_what_was_noted_to_go_before_the_clock_was_set_back_stays_as_long_as_ever(streams: Streams) -> None:
    one = streams.consumer("one", marks_stay_ms=STAY_MS)
    settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)
    one.retain(keep_ms=0, most_results=0)

    streams.pass_time(-100 * STAY_MS)
    dropped = [one.retain(keep_ms=0, most_results=0).marks]
    for wait_ms in (STAY_MS - 1, 1):
        streams.pass_time(wait_ms)
        dropped.append(one.retain(keep_ms=0, most_results=0).marks)

    assert dropped == [0, 0, 1]


def test_who_is_at_work_on_an_entry_that_was_trimmed_and_lost_with_its_group_settles_it(
    streams: Streams,
) -> None:
    """Proves that nobody is left with a row of which nobody else would ever know."""
    one = streams.consumer("one", marks_stay_ms=STAY_MS)
    (gone,) = settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)
    one.retain(keep_ms=0, most_results=0)
    at_work = streams.add(b"symbol", b"A")
    one.read(1, 1)
    streams.pass_time(KEEP_MS)
    later = streams.add(b"symbol", b"B")
    streams.trim_to(1)
    streams.destroy_group()
    one.ensure_group()
    one.settle([publication(each.entry_id) for each in one.read(1, 1)])
    for _ in range(2):
        one.retain(keep_ms=0, most_results=0)
        streams.pass_time(STAY_MS - 1)

    settling = one.settle([publication(at_work)])

    assert streams.entries() == [later]
    assert gone not in streams.marks(), "the horizon has risen"
    assert (settling.new, settling.left) == (1, ())


def test_what_is_pending_for_somebody_is_settled_however_old_its_id_is(streams: Streams) -> None:
    """Proves it for a stream that was made anew, with ids of before."""
    one = streams.consumer("one")
    (first,) = settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)
    dropped = one.retain(keep_ms=0, most_results=0).marks
    streams.delete_stream()
    one.ensure_group()
    streams.pass_time(-KEEP_MS)
    again = streams.add_under(first, b"symbol", b"B")
    taken = one.read(1, 1)
    others = streams.consumer("two").settle([publication(again)])

    settling = one.settle([publication(each.entry_id) for each in taken])

    assert (dropped, others.left) == (1, (again,)), "it is not theirs"
    assert (settling.new, settling.left) == (1, ())


def test_horizon_does_not_rise_above_a_stream_that_was_made_anew_with_earlier_ids(streams: Streams) -> None:
    one = streams.consumer("one", marks_stay_ms=STAY_MS)
    start, *_ = settled_orders(streams, one, 1)
    streams.pass_time(10 * STAY_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)
    one.retain(keep_ms=0, most_results=0)
    streams.delete_stream()
    one.ensure_group()
    milliseconds = int(start.partition("-")[0])
    for later in (1, 2):
        again = streams.add_under(f"{milliseconds + later * KEEP_MS}-0", b"symbol", b"B")
        one.settle([publication(each.entry_id) for each in one.read(1, 1)])
    streams.trim_to(1)
    streams.pass_time(STAY_MS)

    one.retain(keep_ms=0, most_results=0)

    assert not streams.evidence().fates([again])[again].old


def test_late_sleeper_settles_nothing_again_while_the_group_is_missing(streams: Streams) -> None:
    one = streams.consumer("one")
    (entry_id,) = settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.pass_time(1)
    one.retain(keep_ms=KEEP_MS, most_results=0)
    streams.destroy_group()

    new = streams.consumer("sleeper").settle([publication(entry_id)]).new

    assert new == 0
    assert len(streams.results()) == 2


def test_trimmed_entry_that_was_noted_is_settled_however_old_it_is(streams: Streams) -> None:
    one = streams.consumer("one")
    earlier = settled_orders(streams, one, 1)
    streams.pass_time(1)
    trimmed = streams.add(b"symbol", b"A")
    one.read(1, 1)
    streams.delete(trimmed)
    one.own_pending(1, known=())
    streams.delete(earlier[0])
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.pass_time(1)
    one.retain(keep_ms=KEEP_MS, most_results=0)

    first = one.settle([burial(trimmed)]).new
    second = one.settle([burial(trimmed)]).new

    assert (first, second) == (1, 0)


@pytest.mark.parametrize(("settlement", "new", "unknown"), [(publication, 0, 1), (burial, 1, 0)])
def test_nobody_can_know_whether_a_result_was_published_whose_note_is_all_that_is_left_below_the_horizon(
    streams: Streams, settlement: Callable[[str], Settlement], new: int, unknown: int
) -> None:
    """Proves it for a stream made anew with ids of before, whose mark may be dropped: a letter goes out."""
    one = streams.consumer("one")
    (first,) = settled_orders(streams, one, 1)
    streams.pass_time(KEEP_MS)
    settled_orders(streams, one, 1)
    streams.trim_to(1)
    one.retain(keep_ms=0, most_results=0)
    streams.delete_stream()
    one.ensure_group()
    again = streams.add_under(first, b"symbol", b"B")
    one.read(1, 1)
    streams.delete(again)
    one.fetch({again: 2})
    results = len(streams.results())

    settlings = [one.settle([settlement(again)]) for _ in range(2)]

    assert [each.new for each in settlings] == [new, 0]
    assert [each.unknown for each in settlings] == [unknown, 0]
    assert (len(streams.results()), streams.unknown()) == (results, {again} if unknown else set())
    assert one.trimmed(10) == []


def test_notes_of_trimmed_entries_are_not_touched(streams: Streams) -> None:
    one = streams.consumer("one")
    trimmed = streams.add(b"symbol", b"A")
    one.read(1, 1)
    streams.delete(trimmed)
    one.fetch({trimmed: 2})
    settled_orders(streams, one, 2)
    streams.pass_time(KEEP_MS + 1)

    one.retain(keep_ms=KEEP_MS, most_results=1)

    assert one.trimmed(10) == [trimmed]


def test_results_are_kept_to_their_number(streams: Streams) -> None:
    one = streams.consumer("one")
    settled_orders(streams, one, 4 * NODE)
    newest = streams.results()[-NODE:]

    done = one.retain(keep_ms=0, most_results=NODE)

    left = streams.results()
    assert NODE <= len(left) < 2 * NODE, "whole nodes are let go"
    assert done == Retained(results=4 * NODE - len(left))
    assert left[-NODE:] == newest


def test_results_are_all_kept_when_asked_to(streams: Streams) -> None:
    one = streams.consumer("one")
    settled_orders(streams, one, 3 * NODE)

    one.retain(keep_ms=0, most_results=0)

    assert len(streams.results()) == 3 * NODE


def test_dead_consumers_are_removed_and_nobody_else(streams: Streams) -> None:
    for name in ("dead", "asks"):
        settled_orders(streams, streams.consumer(name), 1)
    entry_id = streams.add(b"symbol", b"A")
    streams.consumer("holder").read(1, 1)

    removed = streams.consumer("asks").remove_dead(0)

    assert removed == ["dead"]
    assert streams.consumers() == {"holder", "asks"}
    assert streams.pending() == {entry_id: ("holder", 1)}


def test_consumer_that_was_heard_of_lately_is_not_removed(streams: Streams) -> None:
    settled_orders(streams, streams.consumer("idle"), 1)

    removed = streams.consumer("asks").remove_dead(3_600_000)

    assert removed == []
    assert "idle" in streams.consumers()


def test_removing_dead_consumers_survives_a_lost_group(streams: Streams) -> None:
    streams.destroy_group()

    assert streams.consumer("asks").remove_dead(0) == []


def test_entries_trimmed_unread_are_counted_once_over_all_replicas(counting: Streams) -> None:
    one = counting.consumer("one")
    settled_orders(counting, one, 3)
    add(counting, 10)
    counting.trim_to(6)

    found = one.lost_unread()
    again = counting.consumer("two").lost_unread()

    assert (found, again) == (Lost(4, 4), Lost(0, 4))


def test_lost_entries_add_up_over_gaps_that_grow_and_close(counting: Streams) -> None:
    one = counting.consumer("one")
    settled_orders(counting, one, 3)
    add(counting, 10)
    found = []
    for left in (8, 5):
        counting.trim_to(left)
        found.append(one.lost_unread())
    one.read(2, 1)
    found.append(one.lost_unread())
    counting.trim_to(0)
    found.append(one.lost_unread())
    settled_orders(counting, one, 1)
    found.append(one.lost_unread())

    assert found == [Lost(2, 2), Lost(3, 5), Lost(0, 5), Lost(3, 8), Lost(0, 8)]


def test_what_was_trimmed_before_the_group_was_made_is_not_its_loss(counting: Streams) -> None:
    one = counting.consumer("one")
    settled_orders(counting, one, 1)
    add(counting, 9)
    counting.trim_to(6)
    counting.destroy_group()
    one.ensure_group()

    at_first = one.lost_unread()
    counting.trim_to(5)

    assert at_first == Lost(0, 0)
    assert one.lost_unread() == Lost(1, 1)


def test_what_was_trimmed_before_anything_was_ever_read_or_settled_is_lost(counting: Streams) -> None:
    one = counting.consumer("one")
    counting.destroy_group()
    add(counting, 10)
    counting.trim_to(6)
    one.ensure_group()

    at_first = one.lost_unread()
    counting.trim_to(5)

    assert (at_first, one.lost_unread()) == (Lost(4, 4), Lost(1, 5))


@pytest.mark.parametrize("ahead", [False, True])
def test_gap_is_counted_before_it_is_read_past(counting: Streams, *, ahead: bool) -> None:
    one, two = counting.consumer("one"), counting.consumer("two")
    add(counting, 10)
    counting.trim_to(7)
    one.read(1, 1)
    counting.trim_to(4)

    if ahead:
        one.read_ahead(10)
        taken = one.arrived()
    else:
        taken = one.read(10, 1)

    assert len(taken) == 4
    assert (one.lost_unread(), two.lost_unread()) == (Lost(5, 5), Lost(0, 5))


def test_our_own_trimming_loses_nothing(counting: Streams) -> None:
    one = counting.consumer("one")
    settled_orders(counting, one, 3 * NODE)
    add(counting, 10)
    counting.pass_time(KEEP_MS + 1)

    one.retain(keep_ms=KEEP_MS, most_results=0)
    lost = [one.lost_unread()]
    one.read(20, 1)
    lost.append(one.lost_unread())

    assert lost == [Lost(0, 0), Lost(0, 0)]


def test_counting_what_was_lost_moves_no_delivery(counting: Streams) -> None:
    one = counting.consumer("one")
    taken = add(counting, 3)
    one.read(3, 1)
    unread = add(counting, 5)
    counting.trim_to(2)

    one.lost_unread()

    assert counting.pending() == dict.fromkeys(taken, ("one", 1))
    assert [each.entry_id for each in one.read(10, 1)] == unread[3:]


def add(streams: Streams, count: int) -> list[str]:
    return [streams.add(b"symbol", b"A") for _ in range(count)]


def settled_orders(streams: Streams, consumer: Orders, count: int) -> list[str]:
    """Add orders, and have them read and settled."""
    entry_ids = add(streams, count)
    consumer.read(count, 1)
    consumer.settle([publication(each) for each in entry_ids])
    return entry_ids
