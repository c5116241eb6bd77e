"""Orders, what became of them, and the row that remembers both."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from operator import attrgetter

from msgspec import Struct

from worker.domain.decimals import EXACT
from worker.domain.fleets import Stranger

ZERO = Decimal(0)


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"


class Status(StrEnum):
    """What became of an order; FILLED, REJECTED and ERROR have a result, the others have none."""

    SUBMITTED = "SUBMITTED"
    FILLED = "FILLED"
    REJECTED = "REJECTED"
    ERROR = "ERROR"
    DEAD = "DEAD"


class DeadReason(StrEnum):
    """Why an entry has no result and never will: what its dead letter and its DEAD row say."""

    FAILED = "failed"
    POISON = "poison"
    DATABASE_REJECTED = "database_rejected"
    UNDECODABLE = "undecodable"
    AMBIGUOUS = "ambiguous"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    TRIMMED = "trimmed"


LONGEST_TRADE_ID = 128
WITH_RESULT = frozenset({Status.FILLED, Status.REJECTED, Status.ERROR})


class Labels(Struct, frozen=True):
    """What an order says about itself; kept as sent, and never a reason to execute it differently.

    Strategy, bot and client tell it from another order of the same id, though: they are in its fingerprint.
    The timestamp says how old it is where WORKER_MAX_ORDER_AGE_S rejects orders for their age. Each label is
    called on the streams, and in the table, what it is called here.
    """

    signal_id: str | None = None
    reason: str | None = None
    timestamp: str | None = None
    strategy_id: str | None = None
    bot_id: str | None = None
    client_id: str | None = None


NO_LABELS = Labels()


class OrderFields(Struct, frozen=True, kw_only=True):
    """What an order is known by, and what it says; what it does not say, or what is junk in it, is None.

    `replay_of` is the entry that was buried and that its entry stands for. `traceparent` is where the trace
    of its entry goes on: nothing that the order says, so no part of its fingerprint.
    """

    order_id: str
    entry_id: str
    fingerprint: bytes
    symbol: str | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    labels: Labels = NO_LABELS
    replay_of: str | None = None
    traceparent: str | None = None


class Order(OrderFields, frozen=True, kw_only=True):
    """An order that can be executed. Amounts are exact, finite and greater than zero."""

    symbol: str
    side: Side
    quantity: Decimal


class UnsoundOrder(OrderFields, frozen=True, kw_only=True):
    """An intelligible order that breaks a business rule."""

    why: str


class Undecodable(Struct, frozen=True):
    """What can't be understood as an order at all, and the reason of its dead letter.

    `fingerprint` is what it is known by where it was an order under other settings, or to the version before.
    """

    reason: DeadReason
    error: str
    order_id: str | None = None
    fingerprint: bytes = b""

    @property
    def may_have_been_one(self) -> bool:
        """Whether it may have been an order under other settings, or to the version before."""
        return bool(self.fingerprint) or self.reason is DeadReason.TOO_LARGE

    def rules_out(self, row: "OrderRecord") -> bool:
        """Whether a row of its entry id is another entry's: that of an order, which this was not ever.

        Of what is too large, and was not under other limits, nobody knows.
        """
        too_large = self.reason is DeadReason.TOO_LARGE
        return not too_large and bool(row.fingerprint) and row.fingerprint != self.fingerprint


class Trade(Struct, frozen=True):
    """One fill of an order; its id, of LONGEST_TRADE_ID at the most, is unique within the order.

    Commission is in the quote currency.
    """

    trade_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal


def quantity_of(trades: Iterable[Trade]) -> Decimal:
    """Return what trades add up to. Exactly: a plain sum keeps 28 digits, an amount may have 50."""
    return reduce(EXACT.add, (trade.quantity for trade in trades), ZERO)


class Execution(Struct, frozen=True):
    """What an executor made of one order. The trades add up to the filled quantity."""

    status: Status
    filled_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    trades: tuple[Trade, ...] = ()
    error_message: str | None = None


class OrderRecord(OrderFields, frozen=True, kw_only=True):
    """The row of an order and its trades: at once inbox (who owns the order) and outbox (its result).

    `replay_of`, whose DEAD row it may take over, is not stored.
    """

    status: Status
    executed_at: datetime
    filled_quantity: Decimal = ZERO
    average_price: Decimal | None = None
    error_message: str | None = None
    trades: tuple[Trade, ...] = ()
    # Why the row is DEAD; that also stands in front of the error message. A row that was found may say what
    # only another version knows.
    dead_reason: DeadReason | str | None = None
    # Of a row that was found: whether it is of before there were sources, or of another source than ours.
    unsourced: bool = False
    stranger: Stranger | None = None

    @property
    def given_up_for(self) -> tuple[DeadReason | str, str]:
        """The reason and the error of a DEAD row, as its dead letter states them."""
        message = self.error_message or DeadReason.FAILED
        # The version before kept the code in front of the message alone.
        reason = self.dead_reason or message.partition(": ")[0]
        return reason, message.removeprefix(reason).removeprefix(": ")

    @property
    def stands_since_ms(self) -> int:
        """The unix time in milliseconds before which nobody can have published anything of it."""
        return int(self.executed_at.timestamp() * 1000)

    def owned_by(self, entry_id: str) -> bool:
        """Whether it is the row of this entry of our own stream."""
        return self.stranger is None and self.entry_id == entry_id


ERROR_MESSAGE_LIMIT = 1000


def storable(text: str) -> str:
    """Return a text of ours as every store can keep it: bounded, without NUL or half a surrogate pair."""
    return text[:ERROR_MESSAGE_LIMIT].encode("utf-8", "replace").decode().replace("\0", "?")


def record_execution(order: Order | UnsoundOrder, execution: Execution, at: datetime) -> OrderRecord:
    """Return the row of an order with what became of it, just as it will be read back."""
    return OrderRecord(
        order_id=order.order_id,
        entry_id=order.entry_id,
        fingerprint=order.fingerprint,
        status=execution.status,
        executed_at=at,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        stop_loss_pct=order.stop_loss_pct,
        labels=order.labels,
        filled_quantity=execution.filled_quantity,
        average_price=execution.average_price,
        error_message=None if execution.error_message is None else storable(execution.error_message),
        trades=_by_id(execution.trades),
        replay_of=order.replay_of,
        traceparent=order.traceparent,
    )


def _by_id(trades: Sequence[Trade]) -> tuple[Trade, ...]:
    # A result names the first trade; the store keeps them by id, not in the executor's order.
    return tuple(sorted(trades, key=attrgetter("trade_id")) if len(trades) > 1 else trades)


def intended_order(row: OrderRecord) -> Order:
    """Return the order whose intent a SUBMITTED row is: such a row holds all of it."""
    if row.symbol is None or row.side is None or row.quantity is None:
        raise ValueError(f"the row of order {row.order_id} is not complete")
    return Order(
        order_id=row.order_id,
        entry_id=row.entry_id,
        fingerprint=row.fingerprint,
        symbol=row.symbol,
        side=row.side,
        quantity=row.quantity,
        price=row.price,
        stop_loss_pct=row.stop_loss_pct,
        labels=row.labels,
        traceparent=row.traceparent,
    )
