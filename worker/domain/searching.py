"""Looking for orders: what is asked for, and what was found in as much of the table as was looked through."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from worker.domain.orders import Side, Status


class Place(Struct, frozen=True):
    """A place among the rows in the order of recording: just behind a row, or before all of a time."""

    recorded_at: datetime
    entry_id: str = ""


class Search(Struct, frozen=True):
    """What rows are to be like; None is anything.

    `identifier` is an order id or an entry id, to the letter. The row was recorded from `since` on and before
    `until`. `said` stands in why it was rejected, failed or given up, in any case of letters. Rows are looked
    for backwards from a place, from the newest where there is none.
    """

    identifier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    symbol: str | None = None
    status: Status | None = None
    said: str | None = None
    place: Place | None = None


class FoundOrder(Struct, frozen=True):
    """One row, as a list of orders shows it."""

    order_id: str
    entry_id: str
    status: str
    symbol: str | None
    side: Side | str | None
    quantity: Decimal | None
    filled_quantity: Decimal | None
    average_price: Decimal | None
    error_message: str | None
    recorded_at: datetime


class FoundOrders(Struct, frozen=True):
    """What was found, the newest first.

    So many rows were looked through, `down_to` a time, which is None where a page was full before. `older` is
    the place from which on there may be more; None: there are none.
    """

    orders: tuple[FoundOrder, ...]
    looked_through: int
    down_to: datetime | None
    older: Place | None
