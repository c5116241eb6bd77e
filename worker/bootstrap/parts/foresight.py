"""Tells what a replay would become, and how the order of a conflict differs from the stored one."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from worker import wire
from worker.bootstrap.parts.showing import ALL, Showing, Sizes
from worker.consumer.age import out_of_time
from worker.consumer.recording import Content, judge
from worker.domain.deliveries import BEGINNING, Dead, Delivery
from worker.domain.errors import Outage, WorkerError
from worker.domain.orders import Order, OrderRecord, Status, Undecodable, UnsoundOrder
from worker.status.letters import ComparedField, Comparison, Forecast, ReplayPreview
from worker.store import StoreInspector

SILENT, SILENT_FOR_S = "the database can't tell: it did not answer just now", 5.0


class Foresight:
    """Asks the table, and decides as a replica would; where PostgreSQL is away it says so in words."""

    def __init__(
        self,
        store: StoreInspector,
        decoder: wire.Decoder,
        showing: Showing,
        *,
        max_deliveries: int,
        max_order_age_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._showing = showing
        self._max_deliveries = max_deliveries
        self._max_order_age_s = max_order_age_s
        self._clock = clock
        self._silent_until = 0.0

    def preview(self, letter: wire.Letter, sizes: Sizes = ALL) -> ReplayPreview:
        """Return what the replay of a letter, as it is, would add and become."""
        try:
            made = wire.replay_of(letter, {}, self._decoder)
        except wire.NotReplayable as refused:
            return ReplayPreview(Forecast.REFUSED, self._showing.told(str(refused), letter.originals))
        now = f"{int(self._clock() * 1000)}-0"
        order = self._decoder.decode(Delivery(now, made.fields, 1, True))
        forecast, why = self._forecast(order, letter)
        pairs = list(zip(made.fields[::2], made.fields[1::2], strict=True))
        shown, left_out = self._showing.fields(pairs, sizes)
        return ReplayPreview(forecast, self._showing.told(why, pairs), shown, left_out, self._max_deliveries)

    def comparison(self, letter: wire.Letter) -> Comparison:
        """Return the order of a letter beside the stored one of its id."""
        order_id = letter.order_id or "-"
        fields = tuple(part for pair in letter.originals for part in pair)
        said = self._decoder.parts(Delivery(BEGINNING, fields, 1, True)) if fields else None
        if said is None:
            return Comparison(order_id, why="what the letter has kept of its entry can't be read as an order")
        row = self._standing(order_id)
        if row is None:
            return Comparison(order_id, why="no row of this order stands any more")
        if isinstance(row, str):
            return Comparison(order_id, why=row)
        parts = tuple(self._compared(part) for part in wire.compared(said, row))
        return Comparison(order_id, row.entry_id, row.status, parts)

    def _standing(self, order_id: str) -> OrderRecord | str | None:
        """Return the row that stands for an order, or why that can't be told."""
        if time.monotonic() < self._silent_until:
            # Whoever looks at a hundred letters is not to wait a hundred times.
            return SILENT
        try:
            return self._store.standing(order_id)
        except WorkerError as error:
            if isinstance(error, Outage):
                self._silent_until = time.monotonic() + SILENT_FOR_S
            return f"the database can't tell: {error}"

    def _forecast(
        self, order: Order | UnsoundOrder | Undecodable, letter: wire.Letter
    ) -> tuple[Forecast, str]:
        if isinstance(order, Undecodable):
            return Forecast.BURIED, f"{order.reason}: {order.error}"
        row = self._standing(order.order_id)
        if isinstance(row, str):
            return Forecast.UNKNOWN, row
        if row is not None and not _takes_over(row, letter):
            content = Content(order.order_id, order.fingerprint)
            met = judge(Delivery(BEGINNING, (), 1, True), content, row, written=False)
            if isinstance(met, Dead):
                return Forecast.CONFLICT, met.error
            return Forecast.DUPLICATE, f"the order has a row: it is {row.status}, of entry {row.entry_id}"
        refusal = self._refusal(order)
        if refusal is not None:
            return Forecast.REJECTED, refusal
        why = "no row of the order stands" if row is None else "its row is DEAD, and goes to the replay"
        # What was wrong then is wrong still, unless somebody has mended it.
        return Forecast.EXECUTED, f"{why}; it was {letter.reason}, which has to be mended first"

    def _refusal(self, order: Order | UnsoundOrder) -> str | None:
        """Return why the order of a replay would be rejected now, unexecuted."""
        if isinstance(order, UnsoundOrder):
            return order.why
        if not self._max_order_age_s:
            return None
        now = datetime.fromtimestamp(self._clock(), UTC)
        too_old = out_of_time(order, now, self._max_order_age_s)
        return None if too_old is None else f"{too_old}; it is executed if it is dated from now (--fresh)"

    def _compared(self, part: wire.Part) -> ComparedField:
        said, stored = (
            None if value is None else self._showing.hiding.value(part.name, value)
            for value in (part.said, part.stored)
        )
        return ComparedField(part.name, said, stored, part.differs)


def _takes_over(row: OrderRecord, letter: wire.Letter) -> bool:
    """Whether a row goes to the replay of a letter: it is DEAD, and of the very entry that was buried."""
    return row.status is Status.DEAD and row.stranger is None and row.entry_id == letter.entry_id
