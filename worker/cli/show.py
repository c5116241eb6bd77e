"""`worker show`: the life of one order."""

import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import click
from msgspec import Struct

from worker import wire
from worker.bootstrap import commands
from worker.bootstrap.commands import Witnesses
from worker.cli.pending import shown_name, since
from worker.cli.shell import EXIT_FOUND, examples, settings_of_environment, translated
from worker.domain.deliveries import Delivery, entry_milliseconds, is_entry_id
from worker.domain.orders import Order, Undecodable, UnsoundOrder
from worker.domain.texts import escaped
from worker.domain.times import utc_text
from worker.store import OrderRow
from worker.stream import Found, StoredLetter
from worker.stream.order_trail import MOST_SEARCHED
from worker.wire.names import ORDER_ID

# How far the clock of a replica may be ahead of that of Redis for its result to be found.
CLOCKS_APART_MS = 2000
_ENTRY_ID = re.compile(r"(?:.*:)?([0-9]{1,20}-[0-9]{1,20})", re.ASCII)


class Station(Struct, frozen=True):
    """One thing that happened to an order, or has not; without a time it is how things are now."""

    what: str
    at: str | None
    details: dict[str, Any]


@click.command(
    epilog=examples("worker show order-1", "worker show 1700000000000-0   # by the id of its entry")
)
@click.argument("identifier", metavar="ORDER_ID|ENTRY_ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@translated
def show(identifier: str, *, as_json: bool) -> None:
    """Show the life of one order: entered, committed, result or dead letter; then how it stands now.

    An order without a row is looked for among the last entries of the orders stream, its result among those
    published since it was executed, its dead letter among those buried since it entered: 20,000 entries of
    each at the most. Not found there is not proof that there is none.
    """
    if not ORDER_ID.fullmatch(identifier):
        raise click.BadParameter("an order id is 1 to 128 characters of A-Z a-z 0-9 . _ : / -")
    settings = settings_of_environment()
    with commands.witnesses(settings) as witnesses:
        stations = sorted(Life(witnesses, identifier).stations(), key=lambda each: each.at or "now")
    if as_json:
        lines = [{"what": each.what, "at": each.at, **each.details} for each in stations]
        click.echo(json.dumps({"id": identifier, "found": bool(stations), "life": lines}, indent=2))
    elif not stations:
        click.echo(f"{identifier}: not found, neither in the table nor in the range searched of the streams")
    else:
        for each in stations:
            details = ", ".join(f"{name} {_plain(value)}" for name, value in each.details.items())
            click.echo(f"{each.at or 'now':<24}  {each.what:<11}  {details}".rstrip())
    if not stations:
        sys.exit(EXIT_FOUND)


class Life:
    """What is known of one order, asked of the table and the streams."""

    def __init__(self, witnesses: Witnesses, identifier: str) -> None:
        self._ask = witnesses
        self._row = witnesses.store.row(identifier)
        named = _entry_named_by(identifier)
        self._entry = witnesses.trail.order(named) if named else None
        if self._row is None and self._entry is None:
            self._entry = witnesses.trail.latest_order(lambda each: self._order_id_of(each) == identifier)
        self._order_id = identifier
        if self._entry is not None and self._row is None:
            # An entry that does not own the row of its order: a duplicate, a conflict, or not executed yet.
            self._order_id = self._order_id_of(self._entry) or identifier
            self._row = witnesses.store.row(self._order_id)
        self._entry_id = self._entry.entry_id if self._entry else named
        if self._row is not None and (named is None or self._row.order_id == identifier):
            # Whoever fills the table by hand may have named anything.
            self._entry_id = self._row.entry_id if is_entry_id(self._row.entry_id) else None
            self._entry = witnesses.trail.order(self._entry_id) if self._entry_id else None
        if self._row is not None:
            self._order_id = self._row.order_id

    def stations(self) -> Iterator[Station]:
        """Yield what happened and how things are now; nothing where nothing is known."""
        letter = self._letter()
        if self._entry is None and self._row is None and letter is None:
            return
        entry_id = self._entry_id
        if entry_id is not None:
            where = "on the stream" if self._entry else "no more on the stream"
            yield Station(
                "entered", since(entry_id), {"entry": entry_id, "order": self._order_id, "it is": where}
            )
        if self._row is not None:
            yield self._committed(self._row, entry_id)
            yield self._result(self._row)
        if letter is not None:
            yield _buried(letter)
        if entry_id is not None:
            yield self._pending(entry_id)
            fate = self._ask.evidence.fates([entry_id])[entry_id]
            mark = "yes" if fate.marked else "dropped by retention" if fate.old else "no"
            yield Station("settled", None, {"mark": mark})

    def _order_id_of(self, entry: Found) -> str | None:
        order = self._decoded(entry)
        return None if isinstance(order, Undecodable) else order.order_id

    def _decoded(self, entry: Found) -> Order | UnsoundOrder | Undecodable:
        return self._ask.decoder.decode(Delivery(entry.entry_id, entry.fields, 1, True))

    def _buried_entries(self) -> set[str]:
        """The entry itself, and the one that it replays, as long as it is on the stream to say so."""
        order = None if self._entry is None else self._decoded(self._entry)
        replayed = None if order is None or isinstance(order, Undecodable) else order.replay_of
        # Whoever adds entries may have written anything there.
        return {each for each in (self._entry_id, replayed) if each and _entry_named_by(each) == each}

    def _committed(self, row: OrderRow, entry_id: str | None) -> Station:
        hiding = self._ask.hiding
        filled = hiding.value("filled_quantity", str(row.filled_quantity))
        details: dict[str, Any] = {"status": row.status, "filled": filled}
        if row.entry_id != entry_id:
            details["by another entry"] = row.entry_id
        if row.error_message is not None:
            # What it quotes is known as long as the entry is there.
            fields = () if self._entry is None else self._entry.fields
            details["error"] = hiding.told(row.error_message, fields)
        if row.source not in {"", self._ask.source}:
            details["by another source"] = row.source
        details["executed"] = _time(row.executed_at)
        return Station("committed", _time(row.recorded_at), details)

    def _result(self, row: OrderRow) -> Station:
        wanted = (b"order_id", row.order_id.encode())
        found = self._ask.trail.result(
            lambda each: wanted in zip(each.fields[::2], each.fields[1::2], strict=True),
            from_ms=int(row.executed_at.timestamp() * 1000) - CLOCKS_APART_MS,
        )
        if found is not None:
            return Station("result", since(found.entry_id), {"entry": found.entry_id})
        if row.status == "DEAD":
            return Station("result", None, {"none": "its row is DEAD"})
        return Station(
            "result", None, {"not found in the range searched": f"{MOST_SEARCHED} from its execution on"}
        )

    def _letter(self) -> StoredLetter | None:
        entries = self._buried_entries()
        # Letters are dated by the clock of Redis; the ids of entries may be made up, and of any time to come.
        from_ms = min(
            min(map(entry_milliseconds, entries), default=0), int(time.time() * 1000) - CLOCKS_APART_MS
        )
        for letter in islice(self._ask.letters.walk(from_ms), MOST_SEARCHED):
            read = wire.read_letter(letter.fields)
            if read.entry_id in entries or (not entries and read.order_id == self._order_id):
                return letter
        return None

    def _pending(self, entry_id: str) -> Station:
        (held,) = self._ask.pending.find([entry_id])
        if held is None:
            return Station("pending", None, {"held by": "nobody"})
        idle = f"{held.idle_ms / 1000:.1f} s"
        details = {
            "held by": shown_name(held.consumer, plain=True),
            "idle": idle,
            "deliveries": held.deliveries,
        }
        return Station("pending", None, details)


def _entry_named_by(identifier: str) -> str | None:
    """Return the entry id in an id or at the end of a derived one, if Redis could have given it."""
    named = _ENTRY_ID.fullmatch(identifier)
    return named[1] if named and is_entry_id(named[1]) else None


def _buried(letter: StoredLetter) -> Station:
    read = wire.read_letter(letter.fields)
    details: dict[str, Any] = {"letter": letter.letter_id, "reason": read.reason, "state": letter.state}
    if letter.closed is None:
        details["replay it by"] = f"worker dead replay {letter.letter_id}"
    elif letter.closed.replayed_as is not None:
        details["replayed as"] = letter.closed.replayed_as
    return Station("buried", since(letter.letter_id), details)


def _time(at: datetime) -> str:
    return utc_text(at, "milliseconds")


def _plain(value: object) -> str:
    return escaped(str(value))
