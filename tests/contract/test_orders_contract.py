"""What every port to the orders stream does with entries: read, claimed, kept, charged, handed back."""

import time

from tests.contract.conftest import Streams
from worker.domain.deliveries import Delivery, Settlement

FIELDS = (b"symbol", b"A", b"note", b"\xff\x00", b"note", b"twice")


def test_read_takes_new_entries_in_order_and_charges_each_with_one(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(3)]

    taken = streams.consumer("one").read(2, 1)

    assert taken == [Delivery(each, FIELDS, 1, True) for each in entry_ids[:2]]
    assert streams.pending() == dict.fromkeys(entry_ids[:2], ("one", 1))


def test_read_gives_no_entry_twice(streams: Streams) -> None:
    streams.add(*FIELDS)
    streams.consumer("one").read(10, 1)

    taken = streams.consumer("two").read(10, 1)

    assert taken == []


def test_read_finds_nothing_on_an_empty_stream(streams: Streams) -> None:
    assert streams.consumer("one").read(10, 1) == []


def test_read_that_is_not_to_wait_does_not(streams: Streams) -> None:
    one = streams.consumer("one")
    began = time.monotonic()
    one.read(10, 1000)
    waited_s = time.monotonic() - began

    began = time.monotonic()
    for _ in range(20):
        assert one.read(10, 0) == []

    # An idle server may take a wait of 1 ms for up to 100.
    assert time.monotonic() - began < max(waited_s, 1)


def test_read_makes_a_lost_group_anew_at_the_beginning(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(2)]
    one = streams.consumer("one")
    one.read(10, 1)
    streams.destroy_group()

    at_once = one.read(10, 1)
    then = one.read(10, 1)

    assert at_once == []
    assert [each.entry_id for each in then] == entry_ids


def test_read_recovers_from_a_deleted_stream(streams: Streams) -> None:
    streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.delete_stream()

    at_once = one.read(10, 1)
    entry_id = streams.add(*FIELDS)
    then = one.read(10, 1)

    assert at_once == []
    assert [each.entry_id for each in then] == [entry_id]


def test_what_was_asked_for_arrives_as_if_it_had_been_read_then(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(3)]
    one = streams.consumer("one")

    one.read_ahead(2)
    streams.add(*FIELDS)
    taken = one.arrived()

    assert taken == [Delivery(each, FIELDS, 1, True) for each in entry_ids[:2]]
    assert streams.pending() == dict.fromkeys(entry_ids[:2], ("one", 1))
    assert one.arrived() == []


def test_nothing_arrives_where_nothing_is_waiting(streams: Streams) -> None:
    one = streams.consumer("one")

    one.read_ahead(2)

    assert one.arrived() == []


def test_asking_makes_a_lost_group_anew_at_the_beginning(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.destroy_group()

    one.read_ahead(10)
    at_once = one.arrived()
    then = one.read(10, 1)

    assert at_once == []
    assert [each.entry_id for each in then] == [entry_id]


def test_what_was_asked_for_may_arrive_while_others_are_settled(streams: Streams) -> None:
    first, second = (streams.add(*FIELDS) for _ in range(2))
    one = streams.consumer("one")
    one.read(1, 1)
    one.read_ahead(1)
    arrived: list[Delivery] = []

    settling = one.settle(
        [Settlement(first, "publish", ["a", "b"])], meanwhile=lambda: arrived.extend(one.arrived())
    )

    assert settling.new == 1
    assert [each.entry_id for each in arrived] == [second]
    assert streams.pending() == {second: ("one", 1)}


def test_group_is_made_only_where_it_is_missing(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)

    one.ensure_group()

    assert streams.pending() == {entry_id: ("one", 1)}


def test_claim_takes_what_is_idle_beyond_the_lease_and_charges_nothing(streams: Streams) -> None:
    idle, fresh = (streams.add(*FIELDS) for _ in range(2))
    streams.consumer("one").read(10, 1)
    streams.age(idle)

    page = streams.consumer("two").claim("0-0", 10)

    assert page.cursor == "0-0"
    assert list(page.deliveries) == [Delivery(idle, (), 1, False, fetched=False)]
    assert streams.pending() == {idle: ("two", 1), fresh: ("one", 1)}


def test_claimed_entry_has_a_new_lease(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    streams.consumer("one").read(10, 1)
    streams.age(entry_id)
    streams.consumer("two").claim("0-0", 10)

    page = streams.consumer("three").claim("0-0", 10)

    assert list(page.deliveries) == []


def test_claim_goes_page_by_page_until_the_cursor_wraps(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(5)]
    streams.consumer("one").read(10, 1)
    streams.age(*entry_ids)
    two = streams.consumer("two")

    cursor, pages = "0-0", list[list[str]]()
    while not pages or cursor != "0-0":
        page = two.claim(cursor, 2)
        cursor = page.cursor
        pages.append([each.entry_id for each in page.deliveries])

    assert [entry_id for page in pages for entry_id in page] == entry_ids
    assert max(map(len, pages)) == 2


def test_one_looks_for_abandoned_entries_at_a_time(streams: Streams) -> None:
    one, two = streams.consumer("one"), streams.consumer("two")

    assert one.begin_look()
    assert one.begin_look(), "whoever has the turn keeps it"
    assert not two.begin_look()


def test_others_look_once_the_turn_is_over(streams: Streams) -> None:
    one, two = streams.consumer("one"), streams.consumer("two")
    one.begin_look()

    one.end_look()

    assert two.begin_look()
    assert not one.begin_look()


def test_what_is_released_may_be_looked_for_at_once(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one, two = streams.consumer("one"), streams.consumer("two")
    one.read(10, 1)
    two.begin_look()

    one.release({entry_id: 0})

    assert streams.consumer("three").begin_look()


def test_look_without_a_group_makes_one(streams: Streams) -> None:
    streams.add(*FIELDS)
    streams.destroy_group()
    one = streams.consumer("one")

    one.begin_look()

    assert one.groups_lost == 1
    assert len(one.read(10, 1)) == 1


def test_claim_also_takes_ones_own_idle_entries(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)

    page = one.claim("0-0", 10)

    assert [each.entry_id for each in page.deliveries] == [entry_id]


def test_claim_without_a_group_makes_one_and_finds_nothing(streams: Streams) -> None:
    streams.add(*FIELDS)
    streams.destroy_group()
    one = streams.consumer("one")

    page = one.claim("0-0", 10)

    assert (page.cursor, list(page.deliveries)) == ("0-0", [])
    assert len(one.read(10, 1)) == 1


def test_renew_keeps_others_from_claiming_and_leaves_the_count(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)

    lost = one.renew([entry_id])

    assert lost == []
    assert list(streams.consumer("two").claim("0-0", 10).deliveries) == []
    assert streams.pending() == {entry_id: ("one", 1)}


def test_renew_reports_a_stolen_entry_and_does_not_steal_it_back(streams: Streams) -> None:
    stolen, kept = (streams.add(*FIELDS) for _ in range(2))
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(stolen)
    streams.consumer("two").claim("0-0", 10)

    lost = one.renew([stolen, kept])

    assert lost == [stolen]
    assert streams.pending() == {stolen: ("two", 1), kept: ("one", 1)}


def test_renew_reports_an_entry_that_somebody_settled(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.consumer("two").settle([_ack(entry_id)])

    lost = one.renew([entry_id])

    assert lost == [entry_id]
    assert streams.pending() == {}


def test_renew_does_not_report_a_trimmed_entry_as_lost(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.delete(entry_id)

    lost = [one.renew([entry_id]), one.renew([entry_id])]

    assert lost == [[], []]


def test_renew_does_not_report_an_entry_that_another_found_trimmed(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)
    streams.delete(entry_id)
    two = streams.consumer("two")
    two.fetch({each.entry_id: 2 for each in two.claim("0-0", 10).deliveries})

    lost = one.renew([entry_id])

    assert lost == []
    assert streams.pending() == {}


def test_renew_reports_everything_lost_together_with_the_group(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.destroy_group()

    lost = one.renew([entry_id])

    assert lost == [entry_id]
    assert [each.entry_id for each in one.read(10, 1)] == [entry_id]


def test_charge_sets_the_count_however_often_it_is_called(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)

    lost = [one.charge({entry_id: 4}), one.charge({entry_id: 4})]

    assert lost == [[], []]
    assert streams.pending() == {entry_id: ("one", 4)}


def test_charge_can_be_taken_back_to_nothing(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)

    one.charge({entry_id: 0})

    assert streams.pending() == {entry_id: ("one", 0)}


def test_charge_restarts_the_lease(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)

    one.charge({entry_id: 2})

    assert list(streams.consumer("two").claim("0-0", 10).deliveries) == []


def test_charge_leaves_a_stolen_entry_to_its_new_owner(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)
    streams.consumer("two").claim("0-0", 10)

    lost = one.charge({entry_id: 4})

    assert lost == [entry_id]
    assert streams.pending() == {entry_id: ("two", 1)}


def test_release_makes_entries_claimable_by_others_at_once(streams: Streams) -> None:
    entry_ids = [streams.add(*FIELDS) for _ in range(2)]
    one = streams.consumer("one")
    one.read(10, 1)

    one.release(dict.fromkeys(entry_ids, 0))

    page = streams.consumer("two").claim("0-0", 10)
    assert [(each.entry_id, each.count) for each in page.deliveries] == [(each, 0) for each in entry_ids]


def test_release_leaves_a_stolen_entry_to_its_new_owner(streams: Streams) -> None:
    entry_id = streams.add(*FIELDS)
    one = streams.consumer("one")
    one.read(10, 1)
    streams.age(entry_id)
    streams.consumer("two").claim("0-0", 10)

    one.release({entry_id: 0})

    assert streams.pending() == {entry_id: ("two", 1)}
    assert list(streams.consumer("three").claim("0-0", 10).deliveries) == []


def test_keeping_nothing_asks_nothing(streams: Streams) -> None:
    one = streams.consumer("one")

    one.release({})

    assert one.renew([]) == one.charge({}) == []


def _ack(entry_id: str) -> Settlement:
    return Settlement(entry_id, "ack")


def test_what_is_set_aside_is_noted_for_people_and_stays_pending(streams: Streams) -> None:
    first, second = [streams.add(*FIELDS) for _ in range(2)]
    one = streams.consumer("one")
    one.read(2, 1)

    one.set_aside([first])
    one.set_aside([first, second])

    assert streams.set_aside() == {first, second}
    assert streams.pending() == {first: ("one", 1), second: ("one", 1)}
