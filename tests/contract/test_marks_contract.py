"""What marks tell, and what not: until they are complete a missing mark is a question; nothing is done."""

from typing import Any

from tests.contract.conftest import Streams
from tests.contract.test_settlement_contract import publication
from worker.domain.deliveries import LOOKED_FOR, Settlement
from worker.domain.evidence import Marked
from worker.repair.restorations import restoration_of

FAR_AHEAD = 10**15


def standing(entry_id: str, since_ms: int) -> Settlement:
    given = publication(entry_id)
    return Settlement(entry_id, "publish", given.fields, stands_since_ms=since_ms)


def lost_marks(streams: Streams) -> str:
    """Publish one result, lose its mark, and return its entry, delivered once more."""
    entry_id = streams.add(b"symbol", b"A")
    one = streams.consumer("one")
    one.read(1, 1)
    one.settle([publication(entry_id)])
    streams.lose_marks()
    streams.destroy_group()
    streams.consumer("one").ensure_group()
    streams.consumer("one").read(1, 1)
    return entry_id


def test_marks_are_complete_where_nothing_was_ever_published(streams: Streams) -> None:
    known = streams.marks_port("one").state()

    assert (known.results_since_ms, known.letters_since_ms, known.walked_since_ms) == (0, 0, None)


def test_row_of_before_the_marks_is_in_doubt_and_stays_pending(streams: Streams) -> None:
    entry_id = lost_marks(streams)

    done = streams.consumer("two").settle([standing(entry_id, 1000)])

    assert (done.new, done.in_doubt) == (0, (entry_id,))
    assert len(streams.results()) == 1
    assert entry_id in streams.pending()


def test_row_since_the_marks_is_published(streams: Streams) -> None:
    entry_id = lost_marks(streams)

    done = streams.consumer("two").settle([standing(entry_id, FAR_AHEAD)])

    assert (done.new, done.in_doubt) == (1, ())


def test_row_that_was_written_just_now_is_in_doubt_only_where_marks_were_lost_since(streams: Streams) -> None:
    before, after = (streams.add(b"symbol", b"A") for _ in range(2))
    one = streams.consumer("one")
    one.read(2, 1)

    known = one.settle([publication(before)], written_since_ms=1000)
    streams.lose_marks()
    lost = one.settle([publication(after)], written_since_ms=1000)

    assert (known.new, lost.in_doubt) == (1, (after,))


def test_entry_that_was_looked_for_is_published_whatever_marks_say(streams: Streams) -> None:
    entry_id = lost_marks(streams)

    done = streams.consumer("two").settle([standing(entry_id, LOOKED_FOR)])
    again = streams.consumer("two").settle([standing(entry_id, LOOKED_FOR)])

    assert (done.new, again.new) == (1, 0)


def test_entry_of_which_nobody_can_know_is_acked_and_noted_once(streams: Streams) -> None:
    entry_id = lost_marks(streams)
    unknown = Settlement(entry_id, "unknown")

    first = streams.consumer("two").settle([unknown])
    second = streams.consumer("two").settle([unknown])

    assert (first.unknown, second.unknown) == (1, 0)
    assert streams.pending() == {}
    assert len(streams.results()) == 1


def test_repair_leaves_alone_what_is_in_doubt(streams: Streams) -> None:
    entry_id = lost_marks(streams)
    streams.consumer("one").settle([Settlement(entry_id, "ack")])

    assert streams.mending("two").restore([restoration_of(standing(entry_id, 1000))]) == [False]


def test_what_was_found_is_settled_and_what_was_not_is_published(streams: Streams) -> None:
    found = lost_marks(streams)
    never = streams.add(b"symbol", b"B")
    streams.consumer("one").read(1, 1)
    marks = streams.marks_port("one")
    made = marks.state().made

    remembered = marks.remember([found], Marked(made))
    complete = marks.remember(
        [], Marked(made, results_since_ms=500, letters_since_ms=500, walked_since_ms=500)
    )
    done = streams.consumer("two").settle([standing(found, 1000), standing(never, 1000)])

    assert (remembered, complete) == (True, True)
    assert (done.new, done.in_doubt) == (1, ())
    assert [result["entry_id"] for result in streams.results()] == [found, never]


def test_marks_are_complete_from_earlier_on_and_never_from_later_on(streams: Streams) -> None:
    lost_marks(streams)
    marks = streams.marks_port("one")
    made = marks.state().made

    marks.remember([], Marked(made, results_since_ms=500, letters_since_ms=500, walked_since_ms=500))
    marks.remember([], Marked(made, results_since_ms=900, letters_since_ms=400, walked_since_ms=900))

    known = marks.state()
    assert (known.results_since_ms, known.letters_since_ms, known.walked_since_ms) == (500, 0, 500)


def test_what_was_read_for_marks_that_were_lost_since_is_told_apart(streams: Streams) -> None:
    found = lost_marks(streams)
    marks = streams.marks_port("one")
    made = marks.state().made
    streams.lose_marks()
    streams.pass_time(1)

    assert not marks.remember([found], Marked(made))
    assert streams.marks() == set()


def test_one_replica_at_a_time_reads_what_was_given_out(streams: Streams) -> None:
    one, two = streams.marks_port("one"), streams.marks_port("two")

    taken = [one.begin_walk(), one.begin_walk(), two.begin_walk()]
    one.end_walk()

    assert taken == [True, True, False]
    assert two.begin_walk()


def test_results_that_were_trimmed_are_told(streams: Streams) -> None:
    entry_id = streams.add(b"symbol", b"A")
    one = streams.consumer("one")
    one.read(1, 1)
    evidence = streams.evidence()

    nothing = evidence.results_lost_until_ms()
    one.settle([publication(entry_id)])
    streams.trim_results()

    assert nothing == 0
    assert evidence.results_lost_until_ms() > 0


def test_mark_of_another_order_with_the_same_entry_id_is_another_mark(streams: Streams) -> None:
    entry_id = lost_marks(streams)
    marks = streams.marks_port("one")
    marks.remember([entry_id], Marked(marks.state().made))
    letter = Settlement(
        entry_id, "bury", ["entry_id", entry_id, "reason", "conflict"],
        stands_since_ms=FAR_AHEAD, mark=f"{entry_id}:b:0123",
    )  # fmt: skip

    done = [streams.consumer("two").settle([letter]).new for _ in range(2)]

    assert done == [1, 0]
    assert len(streams.letters()) == 1


def test_nobody_is_asked_any_more_about_what_its_writer_has_published(streams: Streams) -> None:
    entry_id = lost_marks(streams)
    streams.consumer("two").settle([Settlement(entry_id, "unknown")])
    before = streams.unknown()

    streams.consumer("one").settle([standing(entry_id, LOOKED_FOR)])

    assert (before, streams.unknown()) == ({entry_id}, set())


def test_result_that_was_deleted_from_between_others_is_told(streams: Streams) -> None:
    entry_ids = [streams.add(b"symbol", b"A") for _ in range(3)]
    one = streams.consumer("one")
    one.read(3, 1)
    for entry_id in entry_ids:
        one.settle([publication(entry_id)])

    streams.delete_result(1)

    assert streams.evidence().results_lost_until_ms() > 0


def test_marks_are_not_complete_where_results_were_published_and_all_of_them_trimmed(
    streams: Streams,
) -> None:
    entry_id = lost_marks(streams)
    streams.trim_results()

    done = streams.consumer("two").settle([standing(entry_id, 1000)])

    assert done.in_doubt == (entry_id,)


def test_results_are_read_from_an_id_on_and_those_before_it_left_out(streams: Streams) -> None:
    entry_ids = [streams.add(b"symbol", b"A") for _ in range(3)]
    one = streams.consumer("one")
    one.read(3, 1)
    for entry_id in entry_ids:
        one.settle([publication(entry_id)])
    evidence: Any = streams.evidence()
    (first, *rest) = [each for page in evidence.result_pages("0-0", "+") for each in page]

    after = [each for page in evidence.result_pages(f"({first.entry_id}", "+") for each in page]

    assert len(rest) == 2
    assert after == rest
