"""Where the trace of an order's entry goes on, so that its result says it however often it is rendered.

Nothing here holds a lock for long, and replicas of the version before go on: the column is empty where they
write, and their results leave it out.

Taking it back forgets the traces: results that are rendered then leave them out.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from worker.store.online import add_missing_columns

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply. Repeatable from wherever it was interrupted."""
    add_missing_columns("orders", sa.Column("traceparent", sa.Text))


def downgrade() -> None:
    """Take back. Repeatable from wherever it was interrupted."""
    op.drop_column("orders", "traceparent")
