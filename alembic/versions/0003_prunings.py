"""What was pruned, by source and day, and when an order came again long after it was executed.

Nothing here holds a lock for long, and replicas of the version before go on: the column is empty where they
write. While any of them works nobody is to prune.

Taking it back forgets what was pruned: an audit misses these rows then.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from worker.store.online import add_missing_columns

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply. Repeatable from wherever it was interrupted."""
    op.create_table(
        "order_prunings",
        sa.Column("source", sa.Text(collation="C"), nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("orders", sa.BigInteger, nullable=False),
        sa.Column("results", sa.BigInteger, nullable=False),
        sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "day", name="order_prunings_pkey"),
        if_not_exists=True,
    )
    add_missing_columns("orders", sa.Column("repeated_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Take back. Repeatable from wherever it was interrupted."""
    op.drop_column("orders", "repeated_at")
    op.drop_table("order_prunings")
