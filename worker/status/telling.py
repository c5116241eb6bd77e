"""Says in one sentence what became of an order, no more than was looked at, and which command mends it.

`Exactly one result` is said where all of this holds: the row has an outcome; how its entry stands was asked
first, and it was settled, so that nothing more is published of it; then one result was found among all since
its entry came, and says what the row says; and results of that time can't have been trimmed or deleted.
Whatever of this does not hold is said instead.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from worker.domain.deliveries import is_entry_id
from worker.domain.evidence import Finding
from worker.domain.orders import WITH_RESULT, OrderRecord, Status
from worker.domain.pruning import Pruned
from worker.domain.times import utc_text, utc_text_of_ms
from worker.status.story import MOST_SEARCHED, Held, Letter, Results, Story
from worker.status.wording import counted, span

_NOTHING_KNOWN = (
    "Nothing is known of it: no row has this order id or entry id, and neither an entry of the orders stream"
    f" nor a dead letter is of it, among the {MOST_SEARCHED:,} of each that were looked through at the most."
)
UNCLAIMED = (
    "Its row does not say whose it is, and its entry and its result are gone:"
    " nobody can tell whether it is an order of this fleet."
)
FOREIGN = "Its row names the entry {}, which no stream has given: it is no order of this fleet."


class State(StrEnum):
    """Where an order stands."""

    ONE_RESULT = "one_result"
    ONE_RESULT_KEPT = "one_result_kept"
    ONE_RESULT_SEARCHED = "one_result_searched"
    RESULT_NOT_SEEN = "result_not_seen"
    BROKEN = "broken"
    BURIED = "buried"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    WAITING = "waiting"
    PENDING = "pending"
    SUBMITTED = "submitted"
    COMMITTED = "committed"
    GIVEN_UP = "given_up"
    TRIMMED = "trimmed"
    DUPLICATE = "duplicate"
    UNCLAIMED = "unclaimed"
    FOREIGN = "foreign"
    OTHER_SOURCE = "other_source"
    PRUNED = "pruned"
    CHANGING = "changing"
    UNKNOWN = "unknown"


ENDED = frozenset({
    State.ONE_RESULT, State.ONE_RESULT_KEPT, State.ONE_RESULT_SEARCHED, State.REPLAYED, State.DISCARDED,
    State.DUPLICATE,
})  # fmt: skip


class Told(Struct, frozen=True):
    """Where an order stands, in a word and in a sentence, and what to do about it, if anything."""

    state: State
    sentence: str
    command: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether it has come to its end, and nothing is to be done."""
        return self.state in ENDED

    @property
    def needs_person(self) -> bool:
        """Whether it goes no further by itself."""
        return self.state in {State.BROKEN, State.BURIED}


def tell(story: Story) -> Told:
    """Return what is to be said of an order."""
    row = story.row
    if not story.steady:
        told = Told(State.CHANGING, "It changed each time it was looked at: look again.")
    elif story.findings:
        told = _broken(story.findings)
    elif story.fate.in_flight and not story.fate.marked:
        told = _on_its_way(story)
    elif row is not None and row.other_source is not None:
        what = f"It is an order of another source, {row.other_source}: ask a worker of that fleet."
        told = Told(State.OTHER_SOURCE, what)
    elif row is not None and story.is_owner:
        told = _of_row(story, row.record)
    elif story.letter is not None:
        told = _buried(story, story.letter)
    elif story.pruned is not None and story.may_be_pruned:
        told = _pruned(story.results, story.pruned)
    else:
        told = _without_row(story)
    return told


def nothing_known(pruned: Pruned | None) -> str:
    """Return what is to be said of an order of which nothing is known, and which rows were let go."""
    if pruned is None:
        return _NOTHING_KNOWN
    first, last = pruned.first.isoformat(), pruned.last.isoformat()
    days = f"on {first}" if first == last else f"from {first} to {last}"
    were = f"the rows of {pruned.orders:,} orders that came {days} were pruned"
    return f"{_NOTHING_KNOWN} It may be an old one: {were}."


def _pruned(results: Results, pruned: Pruned) -> Told:
    day, audited = pruned.first.isoformat(), "an audit finds it where more of that day have no row"
    what = f"Its result is {results.found[0].entry_id}, and its row is gone: pruned, or lost."
    what += f" Of the orders that came on {day}, {pruned.results:,} with results were pruned: {audited}."
    return Told(State.PRUNED, what, "worker audit")


def _broken(findings: Iterable[Finding]) -> Told:
    said = "; ".join(dict.fromkeys(each.what for each in findings))
    return Told(State.BROKEN, f"{said[0].upper()}{said[1:]}.", _mending(findings))


def _mending(findings: Iterable[Finding]) -> str | None:
    if any(each.remedy is not None and not each.again for each in findings):
        return "worker audit --repair"
    if any(each.remedy is not None for each in findings):
        return "worker audit --repair --republish"
    return None


def _on_its_way(story: Story) -> Told:
    """Return what is to be said where somebody works on it or will."""
    if story.fate.pending:
        return _held_by(story)
    if story.fate.waiting:
        return Told(State.WAITING, "It waits on the orders stream, and was not delivered yet.")
    what = "Its entry was trimmed while it was pending: in a lease it is answered from its row, or buried."
    return Told(State.TRIMMED, what)


def _held_by(story: Story) -> Told:
    row = story.row
    if row is None:
        state, what = State.PENDING, "Nothing of it is committed yet"
    elif not story.is_owner:
        state, what = State.PENDING, f"Its order has a row, which is of the entry {row.record.entry_id}"
    elif row.record.status is Status.SUBMITTED:
        state = State.SUBMITTED
        what = "It was handed to the venue, and what became of it there is not known yet"
    elif row.record.status is Status.DEAD:
        state, what = State.GIVEN_UP, "It was given up, and its dead letter is still to be written"
    elif story.results.found:
        state = State.COMMITTED
        what = f"It is {row.record.status}, and its result is there, but it may be published once more"
    else:
        state = State.COMMITTED
        what = f"It is {row.record.status}, and its result is still to be published"
    holder, command = _holder(story.held)
    return Told(state, f"{what}; {holder}.", command)


def _holder(held: Held | None) -> tuple[str, str | None]:
    if held is None:
        return "a replica holds it", None
    charged = counted(held.deliveries, "delivery", "deliveries")
    if held.idle_ms is None:
        back = f"its consumer gave it back, charged with {charged}"
        return f"{back}: the next replica that looks takes it over", "worker pending"
    said = f"{held.consumer} holds it, charged with {charged}, untouched for {span(held.idle_ms / 1000)}"
    if held.claimable:
        return f"{said}, longer than a lease: the next replica that looks takes it over", "worker pending"
    return said, None


def _of_row(story: Story, record: OrderRecord) -> Told:
    if story.unclaimed:
        return Told(State.UNCLAIMED, UNCLAIMED, "worker audit")
    if story.entered is None:
        return Told(State.FOREIGN, FOREIGN.format(record.entry_id))
    if record.status in WITH_RESULT:
        told = _one_result(story, story.results) if story.results.found else _not_seen(story, record)
        again = "; its entry is delivered once more, and is then only acked" if story.fate.in_flight else ""
        return Told(told.state, f"{told.sentence}{again}.", told.command)
    if story.letter is not None:
        return _buried(story, story.letter)
    looked = f"the {story.letters.searched.looked_at:,} dead letters that were looked through"
    what = f"It was given up, and its dead letter is not among {looked}."
    return Told(State.GIVEN_UP, what, "worker audit")


def _one_result(story: Story, results: Results) -> Told:
    state, said = State.ONE_RESULT, f"Exactly one result, checked at {utc_text(story.checked_at)}"
    if results.lost_until_ms:
        state, lost = State.ONE_RESULT_KEPT, utc_text_of_ms(results.lost_until_ms)
        said = f"One result is on the stream, checked at {utc_text(story.checked_at)}"
        said += f"; results up to {lost} may have been trimmed or deleted, so another can't be ruled out"
    elif not results.searched.all:
        state, among = State.ONE_RESULT_SEARCHED, f"{results.searched.looked_at:,} that were looked through"
        said = f"Exactly one result among the {among}, checked at {utc_text(story.checked_at)}"
        said += "; it is settled, so no second one is published"
    if results.found[0].redone:
        said += "; its row was lost, and the same order executed again since"
    return Told(state, said)


def _not_seen(story: Story, record: OrderRecord) -> Told:
    results = story.results
    marked = "its settled mark says that its result was published"
    unmarked = "whether its result was published is no longer marked"
    said = f"It is {record.status}, and {marked if story.fate.marked else unmarked}"
    said += f"; it is not among the {results.searched.looked_at:,} results that were looked through"
    if results.lost_until_ms:
        lost = utc_text_of_ms(results.lost_until_ms)
        said += f", and those up to {lost} may have been trimmed or deleted"
    return Told(State.RESULT_NOT_SEEN, said, "worker audit")


def _buried(story: Story, letter: Letter) -> Told:
    what = f"It was buried as {letter.reason or '-'}"
    if letter.replayed_as is not None:
        said = f"{what}, and its dead letter {letter.letter_id} was replayed as {letter.replayed_as}."
        # Whoever may write to Redis may have written anything there, and people copy commands.
        command = f"worker show {letter.replayed_as}" if is_entry_id(letter.replayed_as) else None
        return Told(State.REPLAYED, said, command)
    if letter.closed_by is not None:
        closed = f"{letter.state} by {letter.closed_by} at {letter.closed_at}"
        said = (
            f"{what}, and its dead letter {letter.letter_id} was {closed}: it has no result, and gets none."
        )
        return Told(State.DISCARDED, said)
    said = f"{what}, and has no result; its dead letter {letter.letter_id} is open"
    said += f", checked at {utc_text(story.checked_at)}."
    # That says what a replay would become of; what was wrong then mostly is wrong still.
    return Told(State.BURIED, said, f"worker dead show {letter.letter_id}")


def _without_row(story: Story) -> Told:
    """Return what is to be said of an entry that owns no row, and has no dead letter."""
    if story.row is not None and story.is_duplicate:
        record = story.row.record
        of_order = f"the order {record.order_id}, whose row is of the entry {record.entry_id}"
        what = f"It is a duplicate of {of_order}: it was only acked, and has no result of its own."
        return Told(State.DUPLICATE, what, f"worker show {record.order_id}")
    looked = f"the {story.letters.searched.looked_at:,} dead letters that were looked through"
    if story.fate.marked:
        what = f"It was settled once, says its mark; it has no row, and is not among {looked}."
    else:
        what = f"Nobody holds it, it has no row, and it is not among {looked}."
    return Told(State.UNKNOWN, what, "worker audit")
