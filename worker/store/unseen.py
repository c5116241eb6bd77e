"""What may keep rows of our tables from whoever asks, without an error."""

from sqlalchemy import Connection, text

_guarded = text(
    "SELECT 'row-level security of ' || relname FROM pg_class"
    " WHERE oid IN (to_regclass('orders'), to_regclass('trades')) AND row_security_active(oid) ORDER BY 1"
)


def guarded_on(connection: Connection) -> list[str]:
    """Return which tables of orders have policies that are for our role, whatever these say."""
    return list(connection.scalars(_guarded))
