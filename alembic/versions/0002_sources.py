"""Whose entry a row is, why a row is dead, and which streams the sources of a database publish on.

An entry id is unique in one stream of one server and nowhere else. Nothing here holds a lock for long: the
columns have constant defaults, so no row is rewritten; the index is built beside the work; what takes the
place of what is one short step. Replicas of the version before go on meanwhile and afterwards: their rows
have no source.

Taking it back removes the sources and the reasons, and with them what tells two entries of one id apart:
where there are such, it is refused and nothing has changed. Replicas of this version must have ended.
Interrupted, it is to be run again: its index keeps two sources from sharing an entry id.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import IntegrityError

from worker.domain.errors import ConfigurationError
from worker.store.online import add_missing_columns, build_unique_index

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

KEY = "orders_entry_id_source_key"
KEY_BEFORE = "orders_entry_id_key"


def upgrade() -> None:
    """Apply. Repeatable from wherever it was interrupted."""
    identifier = sa.Text(collation="C")
    op.create_table(
        "order_sources",
        sa.Column("token", identifier, nullable=False),
        sa.Column("source", identifier, nullable=False),
        sa.Column("results", identifier, nullable=False),
        sa.Column("results_token", identifier, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token", name="order_sources_pkey"),
        if_not_exists=True,
    )
    add_missing_columns(
        "orders",
        sa.Column("source", identifier, nullable=False, server_default=""),
        sa.Column("dead_reason", sa.Text),
    )
    build_unique_index(KEY, "orders", ["entry_id", "source"])
    replace_key(KEY_BEFORE, KEY)


def downgrade() -> None:
    """Take back. Repeatable from wherever it was interrupted."""
    try:
        build_unique_index(KEY_BEFORE, "orders", ["entry_id"])
    except IntegrityError as error:
        raise ConfigurationError(
            "revision 0002 can't be taken back: rows of two sources have an entry id in common"
        ) from error
    replace_key(KEY, KEY_BEFORE)
    op.drop_table("order_sources")
    op.drop_column("orders", "dead_reason")
    op.drop_column("orders", "source")


def replace_key(old: str, new: str) -> None:
    """Make a constraint of an existing index, in place of another; in one transaction with the revision."""
    op.execute(f"ALTER TABLE orders ADD CONSTRAINT {new} UNIQUE USING INDEX {new}, DROP CONSTRAINT {old}")
