"""What stands where the tables are to be made: nothing, what the last version made, or what is in the way.

The last version records its revision in the table that alembic makes unless told otherwise, where others who
use alembic record theirs. It is read here and never written: replicas of the last version go on looking
there.
"""

from msgspec import Struct
from sqlalchemy import Connection, column, select, table, text

from worker.domain.database_state import Obstacle

VERSION_TABLE = "orders_worker_version"
LAST_VERSION_TABLE = "alembic_version"
_LAST_VERSION = ["0001"]

# As revision 0001 makes them; somebody may have added columns of their own.
_COLUMNS = {
    "orders": {
        "order_id", "entry_id", "fingerprint", "status", "symbol", "side", "quantity", "price",
        "stop_loss_pct", "signal_id", "reason", "timestamp", "strategy_id", "bot_id", "client_id",
        "filled_quantity", "average_price", "error_message",
        "executed_at", "recorded_at",
    },
    "trades": {"order_id", "trade_id", "quantity", "price", "commission", "executed_at"},
}  # fmt: skip
_LATER = ("order_sources", "order_prunings")
_NAMES = (*_COLUMNS, *_LATER)
_TABLE = "r"
_KINDS = {
    _TABLE: "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table",
    "S": "sequence", "i": "index",
}  # fmt: skip
_MOST_REVISIONS = 3
_OWN_SCHEMA = "orders_worker"

# A type that is called like a table is in the way of its row type.
_relations = text(
    "SELECT c.relname, c.relkind::text, has_table_privilege(c.oid, 'SELECT'),"
    " ARRAY(SELECT attname::text FROM pg_attribute"
    " WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = :schema AND c.relname = ANY(:names)"
    " UNION ALL SELECT t.typname, 'type', false, '{}'"
    " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
    " WHERE n.nspname = :schema AND t.typname = ANY(:names) AND t.typtype <> 'c'"
)
_search_path = text("SELECT current_schemas(false)::text[]")
# Of these a session is not told that they are there.
_hidden = text(
    "SELECT quote_ident(n.nspname) FROM regexp_split_to_table(current_setting('search_path'), ',') AS entry"
    " JOIN pg_namespace n ON n.nspname = replace(trim(both ' \"' from entry), '$user', current_user)"
    " WHERE NOT has_schema_privilege(n.oid, 'USAGE') LIMIT 1"
)
_home = text(
    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass(:name)"
)
_connected = text(
    "SELECT quote_ident(current_user), quote_ident(session_user), quote_ident(current_database())"
)


class _Relation(Struct, frozen=True):
    kind: str
    readable: bool
    columns: frozenset[str]


class _Ground(Struct, frozen=True):
    """What one schema holds under our names, and the revisions in alembic's own table.

    The revisions are None where they can't be read.
    """

    relations: dict[str, _Relation]
    revisions: list[str] | None

    @property
    def is_built_on(self) -> bool:
        """Whether the last version has made its tables here, and nothing of a later one is there."""
        return (
            self.revisions == _LAST_VERSION
            and not any(each in self.relations for each in _LATER)
            and all(self._is_table(name, columns) for name, columns in _COLUMNS.items())
        )

    def _is_table(self, name: str, columns: set[str]) -> bool:
        found = self.relations.get(name)
        return found is not None and found.kind == _TABLE and found.columns >= columns

    @property
    def named_as_ours(self) -> list[str]:
        """What has a name that a table of ours would have."""
        found = ((name, self.relations[name].kind) for name in _NAMES if name in self.relations)
        return [f"{_KINDS.get(kind, 'type')} {name}" for name, kind in found]

    @property
    def recorded_by_others(self) -> list[str]:
        """What alembic's own table says, in words."""
        if self.revisions is None:
            return [f"{LAST_VERSION_TABLE}, which can't be read"]
        said = " and ".join(map(repr, self.revisions))
        return [f"table {LAST_VERSION_TABLE} at revision {said}"] if said else []


def is_built_on(connection: Connection) -> bool:
    """Whether the last version has made its tables where this one would make its own."""
    schemas = connection.scalar(_search_path)
    return bool(schemas) and _ground(connection, schemas[0]).is_built_on


def obstacle(connection: Connection, *, recorded: bool) -> Obstacle | None:
    """Return what is in the way of migrating.

    `recorded` says that a revision of ours is recorded, and so that the tables are ours.
    """
    schemas = connection.scalar(_search_path)
    if not schemas:
        return _no_way_in(connection)
    first = schemas[0]
    version_in = connection.scalar(_home, {"name": VERSION_TABLE})
    home = version_in or next((each for each in schemas if _ground(connection, each).is_built_on), first)
    if home != first:
        what = (
            f"the worker's tables are in schema {home}, and new ones would be made in schema {first};"
            " name the one that is meant"
        )
        return Obstacle(what, _setting(connection, home))
    if recorded:
        return None
    found = _ground(connection, first)
    if found.is_built_on:
        return None
    # Once we have a table for it, what others record is their own business.
    strange = found.named_as_ours + ([] if version_in else found.recorded_by_others)
    if not strange:
        return None
    return _schema_is_needed(
        connection, f"schema {first} has what is not this worker's, {', '.join(strange)}"
    )


def _no_way_in(connection: Connection) -> Obstacle | None:
    """Return what schema is hidden from us; where there is none at all, whoever makes a table is told."""
    schema, (_, role, _) = connection.scalar(_hidden), connection.execute(_connected).one()
    if schema is None:
        return None
    return Obstacle(
        f"schema {schema} can't be looked into for want of USAGE", f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    )


def _ground(connection: Connection, schema: str) -> _Ground:
    names = [*_NAMES, LAST_VERSION_TABLE]
    found = {
        name: _Relation(kind, readable, frozenset(columns))
        for name, kind, readable, columns in connection.execute(
            _relations, {"schema": schema, "names": names}
        )
    }
    return _Ground(found, _revisions(connection, schema, found.pop(LAST_VERSION_TABLE, None)))


def _revisions(connection: Connection, schema: str, recorded: _Relation | None) -> list[str] | None:
    if recorded is None:
        return []
    if not recorded.readable or "version_num" not in recorded.columns:
        return None
    versions = table(LAST_VERSION_TABLE, column("version_num"), schema=schema)
    return [str(each) for each in connection.scalars(select(versions.c.version_num).limit(_MOST_REVISIONS))]


def _schema_is_needed(connection: Connection, why: str) -> Obstacle:
    owner, *_ = connection.execute(_connected).one()
    made = f"CREATE SCHEMA {_OWN_SCHEMA} AUTHORIZATION {owner};"
    return Obstacle(
        f"{why}; give the worker a schema of its own", f"{made} {_setting(connection, _OWN_SCHEMA)}"
    )


def _setting(connection: Connection, schema: str) -> str:
    _, role, database = connection.execute(_connected).one()
    return f"ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema}"
