"""The worker's tables as objects, and an order as most applications read one: shared by ORM designs."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy.orm import DeclarativeBase, relationship

from benchmarks.designs import surroundings
from benchmarks.designs.paper import execute, result_fields
from worker.domain.orders import Side
from worker.store import tables

Amount = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class Base(DeclarativeBase):
    """The worker's own tables."""

    metadata = tables.metadata


class TradeRow(Base):
    """A row of trades."""

    __table__ = tables.trades


class OrderRow(Base):
    """A row of orders, with its trades."""

    __table__ = tables.orders
    trades = relationship(TradeRow)


class OrderModel(BaseModel):
    """An order as it stands on the stream."""

    order_id: str
    symbol: str
    side: Side
    quantity: Amount
    type: Literal["order"] = "order"
    price: Amount | None = None
    stop_loss_pct: Decimal | None = None
    signal_id: str | None = None
    reason: str | None = None
    timestamp: str | None = None
    strategy_id: str | None = None
    bot_id: str | None = None
    client_id: str | None = None


def executed(order: OrderModel, entry_id: str) -> tuple[OrderRow, dict[str, Any]]:
    """Execute an order; return its row, to be added and committed, and the fields of its result."""
    at = datetime.now(UTC)
    execution = execute(order)
    kept: dict[str, Any] = order.model_dump(exclude={"type"})
    row = OrderRow(
        **kept,
        entry_id=entry_id,
        fingerprint=b"",
        status=execution.status,
        executed_at=at,
        filled_quantity=execution.filled_quantity,
        average_price=execution.average_price,
        error_message=execution.error_message,
        trades=[
            TradeRow(
                trade_id=trade.trade_id,
                quantity=trade.quantity,
                price=trade.price,
                commission=trade.commission,
                executed_at=at,
            )
            for trade in execution.trades
        ],
    )
    return row, result_fields(order, entry_id, execution, at)


def engine_url() -> str:
    """Return the URL of PostgreSQL as SQLAlchemy wants it, for psycopg."""
    return surroundings.database_url().replace("postgresql://", "postgresql+psycopg://", 1)
