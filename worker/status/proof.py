"""A story as JSON: what `worker show --json` prints, and what the page of an order gives to keep."""

from collections.abc import Iterable

from msgspec.structs import asdict

from worker.domain.decimals import plain
from worker.domain.evidence import Finding
from worker.domain.orders import OrderRecord, Trade
from worker.domain.pruning import Pruned
from worker.domain.texts import HIDDEN
from worker.domain.times import utc_text
from worker.domain.trace_context import TRACEPARENT
from worker.status.document import Document
from worker.status.life import stations_of
from worker.status.story import Field, Story
from worker.status.telling import Told, nothing_known, tell


def proof_of(story: Story) -> Document:
    """Return all that is known of an order, what it comes to, and how far was looked."""
    told = tell(story)
    lines = [{"what": each.what, "at": each.at, **each.details} for each in stations_of(story)]
    return {
        "id": story.identifier,
        "found": True,
        **_told(told),
        "checked_at": utc_text(story.checked_at, "milliseconds"),
        "order_id": story.order_id,
        "life": lines,
        "entry": None
        if story.entered is None
        else {**asdict(story.entered), "fields": _fields(story.entered.fields)},
        "row": order_of(story),
        "trades": trades_of(story),
        "results": [asdict(each) for each in story.results.found],
        "letters": [{**asdict(each), "fields": _fields(each.fields)} for each in story.letters.found],
        "duplicates": list(story.duplicates.entry_ids),
        "findings": [_finding(each) for each in story.findings],
        "searched": {
            "results": {**asdict(story.results.searched), "lost_until_ms": story.results.lost_until_ms},
            "letters": asdict(story.letters.searched),
            "duplicates": asdict(story.duplicates.searched),
        },
    }


def proof_of_nothing(identifier: str, pruned: Pruned | None) -> Document:
    """Return that nothing is known of an order."""
    return {
        "id": identifier,
        "found": False,
        "state": "unknown",
        "sentence": nothing_known(pruned),
        "command": None,
        "life": [],
    }


def _told(told: Told) -> Document:
    return {"state": told.state, "sentence": told.sentence, "command": told.command}


def _fields(fields: Iterable[Field]) -> list[list[str]]:
    # Pairs: a name may come twice.
    return [[each.name, each.value] for each in fields]


def order_of(story: Story) -> Document | None:
    """Return the row of an order; None where there is none."""
    if story.row is None:
        return None
    # Hidden values could be guessed by the fingerprint.
    fingerprint = {"fingerprint": HIDDEN} if story.hidden else {}
    return {**_shown(story, _row(story.row.record)), **fingerprint}


def trades_of(story: Story) -> list[Document]:
    """Return the trades of an order."""
    return [_shown(story, _trade(each)) for each in story.trades]


def _shown(story: Story, said: Document) -> Document:
    return {name: story.shown(name, value) for name, value in said.items()}


def _row(record: OrderRecord) -> Document:
    return {
        "order_id": record.order_id,
        "entry_id": record.entry_id,
        "fingerprint": record.fingerprint.hex(),
        "status": record.status,
        "symbol": record.symbol,
        "side": record.side,
        "quantity": None if record.quantity is None else plain(record.quantity),
        "price": None if record.price is None else plain(record.price),
        "filled_quantity": plain(record.filled_quantity),
        "average_price": None if record.average_price is None else plain(record.average_price),
        "error_message": record.error_message,
        **{name: value for name, value in asdict(record.labels).items() if value is not None},
        "executed_at": utc_text(record.executed_at, "milliseconds"),
        **({} if record.traceparent is None else {TRACEPARENT: record.traceparent}),
    }


def _trade(trade: Trade) -> Document:
    return {
        "trade_id": trade.trade_id,
        "quantity": plain(trade.quantity),
        "price": plain(trade.price),
        "commission": plain(trade.commission),
    }


def _finding(finding: Finding) -> Document:
    return {"invariant": finding.invariant, "what": finding.what, "remedy": finding.remedy}
