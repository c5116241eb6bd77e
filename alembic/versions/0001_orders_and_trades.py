"""Orders with their inbox columns, and trades.

Where the last version has made them, they stay as they are and are recorded as made. Taking this back removes
them, and with them every row; the last version's own record of them is not touched, so that it takes them for
being there.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from worker.store.ground import is_built_on
from worker.store.schema import require_way, standing_on
from worker.store.turns import TURN_OF_THE_LAST_VERSION

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

EXACT_AMOUNT = "{0} > 0 AND {0} < 1e20 AND scale({0}) <= 30"


def upgrade() -> None:
    """Apply, unless the last version has, or does so at this time."""
    op.execute(f"SELECT pg_advisory_xact_lock({TURN_OF_THE_LAST_VERSION})")
    require_way(standing_on(op.get_bind()))
    if is_built_on(op.get_bind()):
        return
    identifier = sa.Text(collation="C")
    op.create_table(
        "orders",
        sa.Column("order_id", identifier, nullable=False),
        sa.Column("entry_id", identifier, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text),
        sa.Column("side", sa.Text),
        sa.Column("quantity", sa.Numeric),
        sa.Column("price", sa.Numeric),
        sa.Column("stop_loss_pct", sa.Numeric),
        sa.Column("signal_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("timestamp", sa.Text),
        sa.Column("strategy_id", sa.Text),
        sa.Column("bot_id", sa.Text),
        sa.Column("client_id", sa.Text),
        sa.Column("filled_quantity", sa.Numeric, nullable=False),
        sa.Column("average_price", sa.Numeric),
        sa.Column("error_message", sa.Text),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("order_id", name="orders_pkey"),
        sa.UniqueConstraint("entry_id", name="orders_entry_id_key"),
        sa.CheckConstraint(
            "status IN ('SUBMITTED', 'FILLED', 'REJECTED', 'ERROR', 'DEAD')", name=op.f("orders_status_check")
        ),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("orders_side_check")),
        sa.CheckConstraint(
            "status IN ('REJECTED', 'DEAD')"
            " OR (symbol IS NOT NULL AND side IS NOT NULL AND quantity IS NOT NULL)",
            name=op.f("orders_complete_check"),
        ),
        sa.CheckConstraint(EXACT_AMOUNT.format("quantity"), name=op.f("orders_quantity_check")),
        sa.CheckConstraint(EXACT_AMOUNT.format("price"), name=op.f("orders_price_check")),
        sa.CheckConstraint(
            "stop_loss_pct >= 0 AND stop_loss_pct <= 100", name=op.f("orders_stop_loss_pct_check")
        ),
        sa.CheckConstraint(
            "filled_quantity >= 0 AND (quantity IS NULL OR filled_quantity <= quantity)"
            " AND (filled_quantity > 0) = (status = 'FILLED')",
            name=op.f("orders_filled_quantity_check"),
        ),
        sa.CheckConstraint(
            "average_price > 0 AND average_price < 'Infinity'", name=op.f("orders_average_price_check")
        ),
    )
    op.create_index("orders_recorded_at_idx", "orders", ["recorded_at"])
    op.create_table(
        "trades",
        sa.Column("order_id", identifier, nullable=False),
        sa.Column("trade_id", identifier, nullable=False),
        sa.Column("quantity", sa.Numeric, nullable=False),
        sa.Column("price", sa.Numeric, nullable=False),
        sa.Column("commission", sa.Numeric, nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "trade_id", name="trades_pkey"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="trades_order_id_fkey"),
        sa.CheckConstraint("quantity > 0 AND quantity < 'Infinity'", name=op.f("trades_quantity_check")),
        sa.CheckConstraint("price > 0 AND price < 'Infinity'", name=op.f("trades_price_check")),
        sa.CheckConstraint(
            "commission >= 0 AND commission < 'Infinity'", name=op.f("trades_commission_check")
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("trades")
    op.drop_table("orders")
