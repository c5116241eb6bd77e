"""What the evidence on one order or entry proves: pure, and only of what nobody is at work on."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from worker.domain.deliveries import Delivery, mark_of_content
from worker.domain.evidence import BuriedEntry, Fate, Finding, Invariant, PublishedResult, Remedy, StandingRow
from worker.domain.orders import (
    WITH_RESULT,
    Order,
    OrderRecord,
    Status,
    Undecodable,
    UnsoundOrder,
    quantity_of,
)
from worker.repair.restorations import is_settled


class Case(Struct, frozen=True):
    """A row with all that is known of it. `differs` names the fields in which its result is not the row's.

    `in_range` is false where its entry is older than what is audited, `visible` where its result may have
    been trimmed, `there` where its entry is gone from the stream; `never` is true where a result of it can't
    have been, if none is there. `closed` is true where its letter may have been let go, since it was closed.
    """

    row: OrderRecord
    fate: Fate
    result: PublishedResult | None
    letter: BuriedEntry | None
    differs: Sequence[str] = ()
    in_range: bool = True
    visible: bool = True
    there: bool = True
    never: bool = False
    closed: bool = False

    @property
    def lacks_closed_letter(self) -> bool:
        """Whether it is DEAD, and was buried, as far as marks tell, in a letter that may have been let go."""
        dead = self.row.status is Status.DEAD and self.letter is None
        return dead and self.closed and self.settled is not False

    @property
    def settled(self) -> bool | None:
        """Whether its result was published, or its entry buried; None where marks can't tell."""
        return is_settled(self.row, self.fate)

    def finding(
        self, invariant: Invariant, what: str, remedy: Remedy | None = None, otherwise: Remedy | None = None
    ) -> Finding:
        """Return a finding on this row."""
        return Finding(invariant, self.row.entry_id, self.row.order_id, what, remedy, otherwise)


def of_row(case: Case) -> Iterator[Finding]:
    """Return what is wrong with an order that has a row."""
    row, result = case.row, case.result
    filled = quantity_of(row.trades)
    if filled != row.filled_quantity:
        what = f"its trades add up to {filled}, its row says {row.filled_quantity} was filled"
        yield case.finding(Invariant.TRADES_ADD_UP, what)
    if result is not None:
        yield from _of_result(case, result)
    if case.fate.in_flight or not case.in_range:
        return
    if row.status is Status.SUBMITTED:
        yield _of_submitted(case)
    elif row.status is Status.DEAD:
        yield from _of_dead(case)
    else:
        yield from _of_outcome(case)


def _of_result(case: Case, result: PublishedResult) -> Iterator[Finding]:
    row = case.row
    if result.times > 1:
        yield case.finding(
            Invariant.ONE_RESULT, f"{result.times} results were published, the first is {result.result_id}"
        )
    if row.status not in WITH_RESULT:
        yield case.finding(
            Invariant.ONE_RESULT, f"its row is {row.status}, but {result.result_id} is a result of it"
        )
    elif case.differs:
        names = ", ".join(case.differs)
        yield case.finding(
            Invariant.RESULT_AS_ROW, f"its result {result.result_id} differs from its row in: {names}"
        )


def _of_submitted(case: Case) -> Finding:
    if case.there:
        return case.finding(
            Invariant.NO_ENTRY_LOST,
            "it was submitted, and nobody holds its entry to find out what became of it",
            Remedy.READOPT,
        )
    return case.finding(
        Invariant.NO_ENTRY_LOST, "it was submitted, and its entry is gone: ask the venue what became of it"
    )


def _of_dead(case: Case) -> Iterator[Finding]:
    if case.lacks_closed_letter:
        return
    if case.letter is None:
        remedy: Remedy = Remedy.BURY if case.settled is False else Remedy.REBURY
        yield case.finding(
            Invariant.ROW_OR_LETTER, "its row is DEAD, but there is no dead letter of it", remedy
        )
    elif case.letter.times > 1:
        yield case.finding(
            Invariant.ROW_OR_LETTER,
            f"{case.letter.times} dead letters of its entry, the first is {case.letter.letter_id}",
        )


def _of_outcome(case: Case) -> Iterator[Finding]:
    row, fate = case.row, case.fate
    if case.letter is not None:
        yield case.finding(
            Invariant.ROW_OR_LETTER,
            f"its row is {row.status}, but its entry was buried as {case.letter.letter_id}",
        )
    if case.result is None:
        looked_for = case.settled is None and case.never and not fate.old
        if (case.settled is False or looked_for) and not fate.unknown:
            lost = case.finding(
                Invariant.ONE_RESULT,
                f"it is {row.status}, and its result was never published",
                Remedy.PUBLISH,
            )
            yield replace(lost, looked_for=looked_for)
        elif case.visible or fate.unknown:
            why = "was published once and is gone" if fate.marked else "is not there, and nobody can know why"
            # Taken for published where it is not given out: the question is answered either way.
            otherwise: Remedy | None = Remedy.MARK if fate.unmarked or fate.unknown else None
            yield case.finding(
                Invariant.ONE_RESULT, f"it is {row.status}, and its result {why}", Remedy.REPUBLISH, otherwise
            )
    elif fate.unknown:
        yield case.finding(
            Invariant.ONE_RESULT, "it is asked whether its result was published, which is there", Remedy.MARK
        )
    elif fate.unmarked:
        yield case.finding(
            Invariant.ONE_RESULT,
            "its settled mark is gone: another delivery would publish again",
            Remedy.MARK,
        )


def letter_of(held: Delivery, found: Mapping[str, BuriedEntry], *, displaced: bool) -> BuriedEntry | None:
    """Return the dead letter of what an entry that owns no row holds; `found` has letters by mark.

    One by its id alone is of the version before, or its row is gone. It is another entry's where that is
    `displaced`: its id has a row.
    """
    return found.get(mark_of_content(held)) or (None if displaced else found.get(held.entry_id))


def mark_of(
    delivery: Delivery, order: Order | UnsoundOrder | Undecodable, *, stands: bool, displaced: bool
) -> str:
    """Return what an entry that owns no row, nor has a dead letter, is marked as once it is settled.

    `stands`: its order has a row, `displaced`: its id has one, of another entry. Without either it is an
    order whose row is missing.
    """
    lacks_row = not (stands or displaced or isinstance(order, Undecodable))
    return delivery.entry_id if lacks_row else mark_of_content(delivery) or delivery.entry_id


def is_duplicate(entry_id: str, held: Order | UnsoundOrder | Undecodable, standing: StandingRow) -> bool:
    """Whether an entry was rightly acked though its order has a row that is another entry's.

    What the row held before it was replayed nobody knows any more.
    """
    came_before = not isinstance(held, Undecodable) and standing.came_after(entry_id)
    return came_before or standing.fingerprint == held.fingerprint


def of_entry(
    entry_id: str,
    decoded: Order | UnsoundOrder | Undecodable,
    fate: Fate,
    standing: StandingRow | None,
    letter: BuriedEntry | None,
    mark: str,
    *,
    given_out: bool | None = False,
) -> Finding | None:
    """Return what is wrong with an entry that owns no row.

    Its fate is that of its `mark`, which is not its id where it is not for want of a row that it owns none.
    `standing` is the row of its order, if any; `given_out` says whether its order has a result (None: it may
    have, where nobody sees it any more).
    """
    if letter is not None:
        return _of_buried(entry_id, fate, letter)
    if fate.in_flight or (standing is not None and is_duplicate(entry_id, decoded, standing)):
        return None
    remedy: Remedy | None = None if fate.marked else Remedy.READOPT
    if isinstance(decoded, Undecodable):
        what = f"it is {decoded.reason}, and has no dead letter"
    elif standing is not None:
        what = "it conflicts with its order's row, and has no dead letter"
    elif mark != entry_id:
        what = "it came with the id of another entry, and has no dead letter"
    else:
        return _of_missing_row(entry_id, decoded.order_id, fate, given_out=given_out)
    return Finding(Invariant.NO_ENTRY_LOST, entry_id, decoded.order_id, what, remedy)


def _of_missing_row(entry_id: str, order_id: str | None, fate: Fate, *, given_out: bool | None) -> Finding:
    mark = ""
    if fate.marked:
        # Executed anew it gets its row back; the mark keeps a second result from going out.
        what = "it was settled, but its row is gone"
    elif given_out is False:
        what = "it was acked without a row or a dead letter"
    else:
        # Acked as a duplicate, say. Executed anew it brings the row back, and must not bring a second result.
        mark = entry_id
        what = (
            "its order has a result, but the row is gone"
            if given_out
            else "it was acked without a row or a dead letter, and a result of its order may be gone"
        )
    return Finding(Invariant.NO_ENTRY_LOST, entry_id, order_id, what, Remedy.READOPT, mark=mark)


def _of_buried(entry_id: str, fate: Fate, letter: BuriedEntry) -> Finding | None:
    if letter.times > 1:
        return Finding(
            Invariant.ROW_OR_LETTER,
            entry_id,
            None,
            f"{letter.times} dead letters of it, the first is {letter.letter_id}",
        )
    if fate.unmarked and not fate.in_flight:
        return Finding(
            Invariant.ROW_OR_LETTER, entry_id, None,
            "its settled mark is gone: another delivery would bury it again", Remedy.MARK, mark=letter.mark,
        )  # fmt: skip
    return None


def only_redone(result_timestamp: str, case_differs: Sequence[str], row: OrderRecord) -> bool:
    """Whether a result differs only in that its row was executed again later, as after a loss of rows.

    That may have been for another entry of the same order.
    """
    executed = int(row.executed_at.timestamp())
    return (
        bool(case_differs)
        and {"timestamp", "entry_id"}.issuperset(case_differs)
        and result_timestamp.isdigit()
        and int(result_timestamp) <= executed
    )
