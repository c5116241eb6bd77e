"""The book of rows PostgreSQL lost: each is noted once for all replicas, and one at a time looks for it."""

import pytest

from tests.contract.conftest import RealStreams, Streams
from tests.contract.test_settlement_contract import publication
from worker.domain.evidence import LostRow
from worker.stream import lost_rows

FIRST, SECOND = LostRow("5-1", "first", "7000-0"), LostRow("5-2", "second", "8000-0")
NAMED = [("5-1", "first"), ("5-2", "second")]


def test_lost_rows_are_noted_once_and_seen_by_every_replica(streams: Streams) -> None:
    one, two = streams.lost_rows("one"), streams.lost_rows("two")

    assert (one.note([FIRST]), two.note([FIRST, SECOND])) == (1, 1)

    assert one.page(0) == two.page(0) == NAMED
    assert (one.page(1), one.page(2)) == (NAMED[1:], [])


def test_note_of_a_row_that_is_there_again_is_taken_back(streams: Streams) -> None:
    book = streams.lost_rows("one")
    book.note([FIRST, SECOND])

    book.take_back(NAMED[:1])

    assert book.page(0) == NAMED[1:]
    assert book.note([FIRST]) == 1


def test_accepted_row_is_not_noted_again(streams: Streams) -> None:
    book = streams.lost_rows("one")
    book.note([FIRST])
    streams.accept_lost_rows()

    assert book.note([FIRST, SECOND]) == 1

    assert book.page(0) == NAMED[1:]


def test_one_replica_looks_at_a_time(streams: Streams) -> None:
    one, two = (streams.lost_rows(name).rounds for name in ("one", "two"))

    assert [one.take_turn(), two.take_turn(), one.take_turn()] == [True, False, True]
    one.end_turn()

    assert two.take_turn()


def test_looks_are_counted_and_the_last_to_end_says_from_when_on_it_looked(streams: Streams) -> None:
    one, two = streams.lost_rows("one"), streams.lost_rows("two")
    before = two.rounds.begun(), two.rounds.ended()
    look = one.rounds.begin()
    under_way = two.rounds.begun(), two.rounds.ended()

    one.end(look, 5000)

    assert before == (0, None)
    assert under_way == (1, None)
    assert (two.rounds.begun(), two.rounds.ended()) == (1, (1, 5000))


def test_accepted_rows_are_forgotten_once_no_look_can_find_them(real_streams: RealStreams) -> None:
    book = real_streams.lost_rows("one")
    book.note([FIRST, SECOND])
    real_streams.accept_lost_rows()

    book.end(book.rounds.begin(), 8000)

    assert book.note([FIRST, SECOND]) == 1
    assert book.page(0) == NAMED[:1]


def test_no_more_than_so_many_are_noted(real_streams: RealStreams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_rows, "MOST_NOTED", 1)
    book = real_streams.lost_rows("one")
    book.note([FIRST])

    assert book.note([SECOND]) == 0

    assert book.page(0) == NAMED[:1]


def test_last_result_is_known_though_it_was_trimmed(streams: Streams) -> None:
    evidence = streams.evidence()
    entry_id = streams.add(b"symbol", b"A")
    one = streams.consumer("one")
    one.read(1, 1)
    one.settle([publication(entry_id)])
    last = evidence.last_result()
    streams.trim_results()

    assert evidence.last_result() == last != "0-0"
