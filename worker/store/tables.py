"""The tables, as the newest migration leaves them; an empty autogenerate proves that they agree."""

from collections.abc import Sequence

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    any_,
    func,
    literal,
)
from sqlalchemy.sql.expression import ColumnElement, FromClause

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Byte order, as Python sorts: batches are inserted in one order everywhere, and comparing is cheap.
Identifier = Text(collation="C")

# The source of rows that were written before there were sources.
UNSOURCED = ""

# numeric(p, s) would round what does not fit; without a scale the column keeps it and the check refuses it.
_EXACT_AMOUNT = "{0} > 0 AND {0} < 1e20 AND scale({0}) <= 30"

orders = Table(
    "orders",
    metadata,
    Column("order_id", Identifier, nullable=False),
    Column("entry_id", Identifier, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("symbol", Text),
    Column("side", Text),
    Column("quantity", Numeric),
    Column("price", Numeric),
    Column("stop_loss_pct", Numeric),
    Column("signal_id", Text),
    Column("reason", Text),
    Column("timestamp", Text),
    Column("strategy_id", Text),
    Column("bot_id", Text),
    Column("client_id", Text),
    Column("filled_quantity", Numeric, nullable=False),
    Column("average_price", Numeric),
    Column("error_message", Text),
    Column("executed_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # Whose entry it is: an entry id is unique in one stream of one server. Rows of before there were sources
    # have none.
    Column("source", Identifier, nullable=False, server_default=UNSOURCED),
    # Why it is DEAD, as a code; rows of before have it in front of their error message alone.
    Column("dead_reason", Text),
    # When the order last came again long after it was recorded: it is to outlive the entry that brought it.
    Column("repeated_at", DateTime(timezone=True)),
    # Where the trace of its entry goes on; rows of the version before have none.
    Column("traceparent", Text),
    PrimaryKeyConstraint("order_id"),
    # Led by the entry: replicas of the version before look for that alone.
    UniqueConstraint("entry_id", "source", name="orders_entry_id_source_key"),
    CheckConstraint("status IN ('SUBMITTED', 'FILLED', 'REJECTED', 'ERROR', 'DEAD')", name="status"),
    CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    CheckConstraint(
        "status IN ('REJECTED', 'DEAD')"
        " OR (symbol IS NOT NULL AND side IS NOT NULL AND quantity IS NOT NULL)",
        name="complete",
    ),
    CheckConstraint(_EXACT_AMOUNT.format("quantity"), name="quantity"),
    CheckConstraint(_EXACT_AMOUNT.format("price"), name="price"),
    CheckConstraint("stop_loss_pct >= 0 AND stop_loss_pct <= 100", name="stop_loss_pct"),
    CheckConstraint(
        "filled_quantity >= 0 AND (quantity IS NULL OR filled_quantity <= quantity)"
        " AND (filled_quantity > 0) = (status = 'FILLED')",
        name="filled_quantity",
    ),
    CheckConstraint("average_price > 0 AND average_price < 'Infinity'", name="average_price"),
    Index(None, "recorded_at"),
)

# Those that ON CONFLICT is to pass over.
OUR_CONSTRAINTS = frozenset(
    str(each.name)
    for each in orders.constraints
    if isinstance(each, (PrimaryKeyConstraint, UniqueConstraint))
)

trades = Table(
    "trades",
    metadata,
    Column("order_id", Identifier, ForeignKey("orders.order_id"), nullable=False),
    Column("trade_id", Identifier, nullable=False),
    Column("quantity", Numeric, nullable=False),
    Column("price", Numeric, nullable=False),
    Column("commission", Numeric, nullable=False),
    Column("executed_at", DateTime(timezone=True), nullable=False),
    # Led by the order, so that one index finds an order's trades and keeps them unique.
    PrimaryKeyConstraint("order_id", "trade_id"),
    CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name="quantity"),
    CheckConstraint("price > 0 AND price < 'Infinity'", name="price"),
    CheckConstraint("commission >= 0 AND commission < 'Infinity'", name="commission"),
)

# Which streams the sources of this database are, and since when they publish where they do. Tokens are minted
# beside the streams, so that those of one name on two servers are told apart; a stream is one source and no
# other.
order_sources = Table(
    "order_sources",
    metadata,
    Column("token", Identifier, nullable=False),
    Column("source", Identifier, nullable=False),
    Column("results", Identifier, nullable=False),
    Column("results_token", Identifier, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("last_seen", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("token"),
)

# How many rows were let go, by the day on which their entries were added, and how many of them had results.
order_prunings = Table(
    "order_prunings",
    metadata,
    Column("source", Identifier, nullable=False),
    Column("day", Date, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("results", BigInteger, nullable=False),
    Column("pruned_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("source", "day"),
)


def of_source(source: str | ColumnElement[object], rows: FromClause = orders) -> ColumnElement[bool]:
    """Return the condition on a source's rows and those of before there were sources: they may be its own."""
    return rows.c.source.in_([UNSOURCED, source])


def one_of(column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these values, which are one parameter.

    Of hundreds of parameters the spelling and planning takes a quarter of the time in which rows go.
    """
    return column == any_(literal(list(values), ARRAY(Text)))
