"""The life of an order: what happened to it, and each step of its way that was or was not taken."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from worker.domain.decimals import plain
from worker.domain.deliveries import entry_milliseconds
from worker.domain.orders import WITH_RESULT, OrderRecord, Status
from worker.domain.times import utc_text, utc_text_of_ms
from worker.domain.trace_context import TRACEPARENT, trace_id_of
from worker.status.story import Entered, Held, Letter, Results, Row, Story
from worker.status.wording import counted, span


class Step(Struct, frozen=True):
    """One step on an order's way, whether it was `done` (None: nobody can tell), when, and what is known."""

    name: str
    done: bool | None
    text: str
    at: str | None = None


class Station(Struct, frozen=True):
    """One thing that happened to an order, or has not; without a time it is how things are now."""

    what: str
    at: str | None
    details: dict[str, Any]


def since(entry_id: str) -> str:
    """Return when Redis accepted an entry, as its id says."""
    return utc_text_of_ms(entry_milliseconds(entry_id), "milliseconds")


def stations_of(story: Story) -> list[Station]:
    """Return what happened, in that order, and then how things are now."""
    return sorted(_stations(story), key=lambda each: each.at or "now")


def steps_of(story: Story) -> list[Step]:
    """Return the way of an order, step by step, with those that are still to be taken."""
    return [
        _step_entered(story.entered),
        _step_delivered(story),
        *_steps_of_row(story),
        _step_published(story),
        Step(
            "marked as settled", True if story.fate.marked else None if story.fate.old else False, story.mark
        ),
        _step_acked(story),
    ]


def _step_entered(entered: Entered | None) -> Step:
    if entered is None:
        return Step("entered", None, "which entry brought it is not known")
    where = "on the stream" if entered.on_stream else "no more on the stream"
    return Step("entered", True, f"as {entered.entry_id}, {where}", since(entered.entry_id))


def _step_delivered(story: Story) -> Step:
    held = story.held
    if held is not None:
        charged = counted(held.deliveries, "delivery", "deliveries")
        if held.idle_ms is None:
            return Step("delivered", True, f"charged with {charged}, given back by its consumer")
        text = f"to {held.consumer}, charged with {charged}, untouched for {span(held.idle_ms / 1000)}"
        return Step("delivered", True, text)
    if story.fate.waiting:
        return Step("delivered", False, "waits to be")
    letter = next((each for each in story.letters.found if each.deliveries), None)
    if letter is not None:
        charged = f"with {letter.deliveries} deliveries charged" if letter.deliveries != "1" else "once"
        return Step("delivered", True, f"{charged}, says its dead letter")
    if (story.row is not None and story.is_owner) or story.fate.marked:
        return Step("delivered", True, "to whom and how often is not kept once it is acked")
    return Step("delivered", None, "not known")


def _steps_of_row(story: Story) -> Iterator[Step]:
    row = story.row
    if row is None and story.may_be_pruned:
        yield Step("executed", None, "its row was pruned, or lost")
        yield Step("committed", None, "its row was pruned, or lost")
        return
    if row is None:
        yield Step("executed", False, "there is no row of it")
        yield Step("committed", False, "there is no row of it")
        return
    record = row.record
    match record.status:
        case Status.SUBMITTED:
            yield Step("executed", None, "handed to the venue", utc_text(record.executed_at, "milliseconds"))
        case Status.DEAD:
            yield Step("executed", None, "given up", utc_text(record.executed_at, "milliseconds"))
        case _:
            text = f"filled {story.shown('filled_quantity', plain(record.filled_quantity))}"
            yield Step("executed", True, text, utc_text(record.executed_at, "milliseconds"))
    by = "" if row.other_source is None else f", by another source: {row.other_source}"
    text = f"{record.status}, of the entry {record.entry_id}{by}"
    yield Step("committed", True, text, utc_text(row.recorded_at, "milliseconds"))


def _step_published(story: Story) -> Step:
    found = story.results.found
    if found:
        ids = ", ".join(each.entry_id for each in found)
        return Step("published", True, f"as {ids}", since(found[0].entry_id))
    if story.row is not None and story.row.record.status not in WITH_RESULT:
        return Step("published", False, f"its row is {story.row.record.status}")
    looked = f"not among the {story.results.searched.looked_at:,} results that were looked through"
    return Step("published", None if story.fate.marked or story.fate.old else False, looked)


def _step_acked(story: Story) -> Step:
    if story.entered is None:
        return Step("acked", None, "not known")
    if story.fate.in_flight:
        return Step("acked", False, "not yet")
    return Step("acked", True, "nobody holds it")


def _stations(story: Story) -> Iterator[Station]:
    if story.entered is not None:
        yield _entered(story.entered, story.order_id)
    if story.row is not None:
        yield _committed(story, story.row)
        yield from _published(story.row.record, story.results)
    for letter in story.letters.found:
        yield _buried(letter)
    if story.entered is not None:
        yield _pending(story.held)
        yield Station("settled", None, {"mark": story.mark})


def _entered(entered: Entered, order_id: str | None) -> Station:
    where = "on the stream" if entered.on_stream else "no more on the stream"
    details: dict[str, Any] = {"entry": entered.entry_id, "order": order_id, "it is": where}
    if entered.another is not None:
        details["now under its id"] = entered.another
    return Station("entered", since(entered.entry_id), details)


def _committed(story: Story, row: Row) -> Station:
    record = row.record
    filled = story.shown("filled_quantity", str(record.filled_quantity))
    details: dict[str, Any] = {"status": record.status, "filled": filled}
    if record.entry_id != (story.entered and story.entered.entry_id):
        details["by another entry"] = record.entry_id
    if record.error_message is not None:
        details["error"] = record.error_message
    if row.other_source is not None:
        details["by another source"] = row.other_source
    details["executed"] = utc_text(record.executed_at, "milliseconds")
    if record.traceparent is not None:
        details["trace"] = story.shown(TRACEPARENT, trace_id_of(record.traceparent))
    return Station("committed", utc_text(row.recorded_at, "milliseconds"), details)


def _published(record: OrderRecord, results: Results) -> Iterator[Station]:
    for each in results.found:
        differs = {"differs from its row in": ", ".join(each.differs)} if each.differs else {}
        yield Station("result", since(each.entry_id), {"entry": each.entry_id, **differs})
    if results.found:
        return
    if record.status not in WITH_RESULT:
        yield Station("result", None, {"none": f"its row is {record.status}"})
    else:
        looked = f"{results.searched.looked_at} from its execution on"
        yield Station("result", None, {"not found in the range searched": looked})


def _buried(letter: Letter) -> Station:
    details: dict[str, Any] = {"letter": letter.letter_id, "reason": letter.reason, "state": letter.state}
    if letter.replayed_as is not None:
        details["replayed as"] = letter.replayed_as
    elif letter.closed_by is None:
        details["replay it by"] = f"worker dead replay {letter.letter_id}"
    return Station("buried", since(letter.letter_id), details)


def _pending(held: Held | None) -> Station:
    if held is None:
        return Station("pending", None, {"held by": "nobody"})
    if held.idle_ms is None:
        return Station("pending", None, {"held by": "nobody, given back", "deliveries": held.deliveries})
    idle = f"{held.idle_ms / 1000:.1f} s"
    details = {"held by": held.consumer, "idle": idle, "deliveries": held.deliveries}
    return Station("pending", None, details)
