"""What may keep rows of our tables from whoever asks, without an error: row-level security, or a view."""

from collections.abc import Mapping

from sqlalchemy import Connection, text

from worker.domain.errors import AccessDenied
from worker.store.ground import VERSION_TABLE
from worker.store.tables import metadata

# What is done with rows of a table, in the letters of the catalogue: they are read (r), updated (w), deleted
# (d). An insert that may not be is an error.
READ: Mapping[str, str] = dict.fromkeys((*metadata.tables, VERSION_TABLE), "r")
PRUNE: Mapping[str, str] = {"orders": "rwd", "trades": "rd"}

_guarded = text(
    "SELECT 'row-level security of ' || relname FROM pg_class"
    " WHERE oid IN (to_regclass('orders'), to_regclass('trades')) AND row_security_active(oid) ORDER BY 1"
)
# A policy that lets all rows through says just `true`; whatever else one says may leave some out.
_unseen = text(
    """
    WITH asked AS (
        SELECT to_regclass(name) AS id, command::"char"
        FROM unnest(CAST(:names AS text[]), CAST(:commands AS text[])) AS needed (name, command)
    ), policy AS (
        SELECT id, command, polpermissive AS lets,
            coalesce(pg_get_expr(polqual, polrelid), 'true') = 'true' AS any_row
        FROM asked JOIN pg_policy ON polrelid = id AND polcmd IN (command, '*')
        WHERE 0 = ANY(polroles)
        OR EXISTS (SELECT FROM unnest(polroles) AS role WHERE role <> 0 AND pg_has_role(role, 'USAGE'))
    )
    SELECT DISTINCT
        CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
        ELSE 'row-level security of ' END || relname
    FROM asked JOIN pg_class ON oid = id LEFT JOIN LATERAL (
        SELECT bool_or(any_row) FILTER (WHERE lets) AS let,
            bool_and(any_row) FILTER (WHERE NOT lets) AS left_in
        FROM policy WHERE policy.id = asked.id AND policy.command = asked.command
    ) AS all_rows ON true
    WHERE relkind NOT IN ('r', 'p')
    OR row_security_active(id) AND NOT (coalesce(let, false) AND coalesce(left_in, true))
    ORDER BY 1
    """
)


def guarded_on(connection: Connection) -> list[str]:
    """Return which tables of orders have policies that are for our role, whatever these say."""
    return list(connection.scalars(_guarded))


def unseen_on(connection: Connection, needed: Mapping[str, str] = READ) -> list[str]:
    """Return what may leave rows out of what our role does with them, as people name it."""
    pairs = [(name, command) for name, commands in needed.items() for command in commands]
    names, commands = (list(each) for each in zip(*pairs, strict=True))
    return list(connection.scalars(_unseen, {"names": names, "commands": commands}))


def require_seen(connection: Connection, needed: Mapping[str, str] = READ) -> None:
    """Raise AccessDenied, with the way out, where rows may be left out of what our role does with them."""
    if found := unseen_on(connection, needed):
        who = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
        raise AccessDenied(
            "postgresql",
            f"rows may be hidden from {who}: {', '.join(found)};"
            " it needs tables, and policies that let it have all rows (USING (true)), or BYPASSRLS",
        )
