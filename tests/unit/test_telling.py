"""The sentence on one order says no more than was looked at."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tests.builders import dead_record, record
from worker.domain.evidence import Fate, Finding, Invariant, Remedy
from worker.domain.orders import OrderRecord, Status
from worker.domain.pruning import Pruned
from worker.status.story import (
    Duplicates,
    Entered,
    Held,
    Letter,
    Letters,
    Result,
    Results,
    Row,
    Searched,
    Story,
)
from worker.status.telling import State, Told, nothing_known, tell

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LOST_UNTIL_MS = 1_767_323_040_000
RESULT = Result("1767323045700-0")
ALL, SOME = Searched(1234, all=True), Searched(20_000, all=False)
LETTER = Letter("1767323050000-0", "1-1", "poison", "no outcome", "open")
HELD = Held("worker-a", 1500, 1, claimable=False)
SUBMITTED = record(status=Status.SUBMITTED)


def story(row: OrderRecord | None = record(), **changes: Any) -> Story:  # noqa: B008  it is frozen
    """The story of an order whose one result was found, but for what is given."""
    made = Story(
        identifier="order-1",
        checked_at=AT,
        order_id="order-1",
        entered=Entered("1-1", on_stream=True),
        fate=Fate(marked=True),
        row=None if row is None else Row(row, AT),
        results=Results((RESULT,), ALL),
        letters=Letters(searched=ALL),
    )
    return replace(made, **changes)


def finding(what: str, remedy: Remedy | None = None, otherwise: Remedy | None = None) -> Finding:
    return Finding(Invariant.ONE_RESULT, "1-1", "order-1", what, remedy, otherwise)


PRUNED = Pruned(4000, 3900, date(2026, 1, 2), date(2026, 1, 2))
NO_RESULTS = Results((), ALL)
HELD_BY = "worker-a holds it, charged with 1 delivery, untouched for 1.5 s."
TOLD = {
    "one result": (story(), Told(State.ONE_RESULT, "Exactly one result, checked at 2026-01-02T03:04:05Z.")),
    "one result, its mark dropped with its entry": (
        story(fate=Fate(old=True)),
        Told(State.ONE_RESULT, "Exactly one result, checked at 2026-01-02T03:04:05Z."),
    ),
    "one result, and a delivery that finds its mark": (
        story(fate=Fate(marked=True, pending=True), held=HELD),
        Told(
            State.ONE_RESULT,
            "Exactly one result, checked at 2026-01-02T03:04:05Z;"
            " its entry is delivered once more, and is then only acked.",
        ),
    ),
    "one result, of an execution before the row": (
        story(results=Results((Result("1-1", ("timestamp",), redone=True),), ALL)),
        Told(
            State.ONE_RESULT,
            "Exactly one result, checked at 2026-01-02T03:04:05Z;"
            " its row was lost, and the same order executed again since.",
        ),
    ),
    "one result of those that are kept": (
        story(results=Results((RESULT,), ALL, LOST_UNTIL_MS)),
        Told(
            State.ONE_RESULT_KEPT,
            "One result is on the stream, checked at 2026-01-02T03:04:05Z; results up to 2026-01-02T03:04:00Z"
            " may have been trimmed or deleted, so another can't be ruled out.",
        ),
    ),
    "one result of those that were looked through": (
        story(results=Results((RESULT,), SOME)),
        Told(
            State.ONE_RESULT_SEARCHED,
            "Exactly one result among the 20,000 that were looked through, checked at 2026-01-02T03:04:05Z;"
            " it is settled, so no second one is published.",
        ),
    ),
    "no result among those that were looked through": (
        story(results=Results((), SOME)),
        Told(
            State.RESULT_NOT_SEEN,
            "It is FILLED, and its settled mark says that its result was published;"
            " it is not among the 20,000 results that were looked through.",
            "worker audit",
        ),
    ),
    "neither a result nor a mark, and both may have gone": (
        story(fate=Fate(old=True), results=Results((), ALL, LOST_UNTIL_MS)),
        Told(
            State.RESULT_NOT_SEEN,
            "It is FILLED, and whether its result was published is no longer marked;"
            " it is not among the 1,234 results that were looked through,"
            " and those up to 2026-01-02T03:04:00Z may have been trimmed or deleted.",
            "worker audit",
        ),
    ),
    "something that a repair mends": (
        story(findings=(finding("it is FILLED, and its result was never published", Remedy.PUBLISH),)),
        Told(
            State.BROKEN,
            "It is FILLED, and its result was never published.",
            "worker audit --repair",
        ),
    ),
    "something that is mended by giving it out again": (
        story(
            findings=(
                finding(
                    "it is FILLED, and its result was published once and is gone",
                    Remedy.REPUBLISH,
                    Remedy.MARK,
                ),
            )
        ),
        Told(
            State.BROKEN,
            "It is FILLED, and its result was published once and is gone.",
            "worker audit --repair --republish",
        ),
    ),
    "what a person has to judge": (
        story(findings=(finding("2 results were published, the first is 1-1"), finding("and more"))),
        Told(State.BROKEN, "2 results were published, the first is 1-1; and more."),
    ),
    "not delivered": (
        story(None, fate=Fate(waiting=True), results=NO_RESULTS),
        Told(State.WAITING, "It waits on the orders stream, and was not delivered yet."),
    ),
    "trimmed while it was pending": (
        story(None, fate=Fate(noted=True), results=NO_RESULTS),
        Told(
            State.TRIMMED,
            "Its entry was trimmed while it was pending: in a lease it is answered from its row, or buried.",
        ),
    ),
    "in hand": (
        story(None, fate=Fate(pending=True), held=HELD, results=NO_RESULTS),
        Told(State.PENDING, f"Nothing of it is committed yet; {HELD_BY}"),
    ),
    "abandoned": (
        story(
            None,
            fate=Fate(pending=True),
            held=Held("worker-a", 3_600_000, 2, claimable=True),
            results=NO_RESULTS,
        ),
        Told(
            State.PENDING,
            "Nothing of it is committed yet; worker-a holds it, charged with 2 deliveries, untouched for 1 h,"
            " longer than a lease: the next replica that looks takes it over.",
            "worker pending",
        ),
    ),
    "in hand, of an order that another entry brought": (
        story(fate=Fate(pending=True), held=HELD, is_owner=False),
        Told(State.PENDING, f"Its order has a row, which is of the entry 1-1; {HELD_BY}"),
    ),
    "at the venue": (
        story(SUBMITTED, fate=Fate(pending=True), held=HELD, results=NO_RESULTS),
        Told(
            State.SUBMITTED,
            f"It was handed to the venue, and what became of it there is not known yet; {HELD_BY}",
        ),
    ),
    "committed": (
        story(fate=Fate(pending=True), held=HELD, results=NO_RESULTS),
        Told(State.COMMITTED, f"It is FILLED, and its result is still to be published; {HELD_BY}"),
    ),
    "committed and published, and pending without a mark": (
        story(fate=Fate(pending=True), held=HELD),
        Told(
            State.COMMITTED,
            f"It is FILLED, and its result is there, but it may be published once more; {HELD_BY}",
        ),
    ),
    "given up, not buried yet": (
        story(dead_record(), fate=Fate(pending=True), held=None, results=NO_RESULTS),
        Told(
            State.GIVEN_UP,
            "It was given up, and its dead letter is still to be written; a replica holds it.",
        ),
    ),
    "buried": (
        story(dead_record(), results=NO_RESULTS, letters=Letters((LETTER,), ALL)),
        Told(
            State.BURIED,
            "It was buried as poison, and has no result; its dead letter 1767323050000-0 is open,"
            " checked at 2026-01-02T03:04:05Z.",
            "worker dead show 1767323050000-0",
        ),
    ),
    "buried without a row": (
        story(None, results=NO_RESULTS, letters=Letters((replace(LETTER, reason="undecodable"),), ALL)),
        Told(
            State.BURIED,
            "It was buried as undecodable, and has no result; its dead letter 1767323050000-0 is open,"
            " checked at 2026-01-02T03:04:05Z.",
            "worker dead show 1767323050000-0",
        ),
    ),
    "replayed": (
        story(
            dead_record(),
            letters=Letters((replace(LETTER, state="replayed", closed_by="ann", replayed_as="2-1"),), ALL),
        ),
        Told(
            State.REPLAYED,
            "It was buried as poison, and its dead letter 1767323050000-0 was replayed as 2-1.",
            "worker show 2-1",
        ),
    ),
    "discarded": (
        story(
            dead_record(),
            letters=Letters((replace(LETTER, state="discarded", closed_by="ann", closed_at="then"),), ALL),
        ),
        Told(
            State.DISCARDED,
            "It was buried as poison, and its dead letter 1767323050000-0 was discarded by ann at then:"
            " it has no result, and gets none.",
        ),
    ),
    "given up, its letter not among the first ones": (
        story(dead_record(), letters=Letters((), SOME)),
        Told(
            State.GIVEN_UP,
            "It was given up, and its dead letter is not among the 20,000 dead letters"
            " that were looked through.",
            "worker audit",
        ),
    ),
    "duplicate": (
        story(
            entered=Entered("1-2", on_stream=True),
            is_owner=False,
            is_duplicate=True,
            duplicates=Duplicates(("1-2",), ALL),
        ),
        Told(
            State.DUPLICATE,
            "It is a duplicate of the order order-1, whose row is of the entry 1-1: it was only acked,"
            " and has no result of its own.",
            "worker show order-1",
        ),
    ),
    "settled, and nothing else is known": (
        story(None, entered=Entered("1-1", on_stream=False), results=NO_RESULTS),
        Told(
            State.UNKNOWN,
            "It was settled once, says its mark; it has no row,"
            " and is not among the 1,234 dead letters that were looked through.",
            "worker audit",
        ),
    ),
    "on the stream, and nothing else is known": (
        story(None, fate=Fate(), results=NO_RESULTS, letters=Letters((), SOME)),
        Told(
            State.UNKNOWN,
            "Nobody holds it, it has no row,"
            " and it is not among the 20,000 dead letters that were looked through.",
            "worker audit",
        ),
    ),
    "of another source": (
        replace(story(), row=Row(record(), AT, "its")),
        Told(State.OTHER_SOURCE, "It is an order of another source, its: ask a worker of that fleet."),
    ),
    "its row was pruned": (
        story(None, pruned=PRUNED, fate=Fate(old=True)),
        Told(
            State.PRUNED,
            "Its result is 1767323045700-0, and its row is gone: pruned, or lost. Of the orders that came on"
            " 2026-01-02, 3,900 with results were pruned:"
            " an audit finds it where more of that day have no row.",
            "worker audit",
        ),
    ),
    "rows of its day were pruned, and it has no result": (
        story(None, pruned=PRUNED, results=NO_RESULTS),
        Told(
            State.UNKNOWN,
            "It was settled once, says its mark; it has no row,"
            " and is not among the 1,234 dead letters that were looked through.",
            "worker audit",
        ),
    ),
    "nobody's row": (
        story(unclaimed=True, results=NO_RESULTS),
        Told(
            State.UNCLAIMED,
            "Its row does not say whose it is, and its entry and its result are gone:"
            " nobody can tell whether it is an order of this fleet.",
            "worker audit",
        ),
    ),
    "row of no stream": (
        story(record(entry_id="by hand"), entered=None, results=Results()),
        Told(
            State.FOREIGN,
            "Its row names the entry by hand, which no stream has given: it is no order of this fleet.",
        ),
    ),
    "changing": (
        story(steady=False),
        Told(State.CHANGING, "It changed each time it was looked at: look again."),
    ),
}


def test_what_nothing_is_known_of_may_be_of_rows_that_were_pruned() -> None:
    before = nothing_known(None)

    assert "pruned" not in before
    assert nothing_known(replace(PRUNED, last=date(2026, 2, 1))) == (
        f"{before} It may be an old one: the rows of 4,000 orders that came from 2026-01-02 to 2026-02-01"
        " were pruned."
    )


@pytest.mark.parametrize(("of", "told"), TOLD.values(), ids=TOLD.keys())
def test_sentence_says_what_is_known(of: Story, told: Told) -> None:
    assert tell(of) == told


def test_every_state_has_a_sentence() -> None:
    assert {told.state for _, told in TOLD.values()} == set(State)
