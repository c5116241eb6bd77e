"""What can be wrong with PostgreSQL while a replica works."""

import os
import signal
from collections.abc import Iterator
from threading import Thread

from local.postgres import postgres_answers
from tests.faults.environment.lending import healing
from tests.faults.environment.site import PASSWORD, Site
from tests.faults.environment.trial import Condition, Injection, Strike
from tests.harness import eventually

FOREIGN_ROW = (
    "INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)"
    " VALUES ('order-3', '0-1', '', 'DEAD', 0, now())"
)


def changed(change: str, back: str, *, anew: bool = False) -> Injection:
    """An injection of an administrator's statements; WORKER is the worker's role and database.

    Healing ends no session.
    """

    @healing
    def inject(site: Site) -> Iterator[Strike]:
        site.sql(*_named(site, change))
        if anew:
            site.end_sessions()
        yield None
        site.sql(*_named(site, back))

    return inject


def _named(site: Site, statements: str) -> list[str]:
    return [statement.replace("WORKER", site.name) for statement in statements.split("; ")]


def triggered(body: str, *, on: str = "orders") -> Injection:
    """An injection of a trigger that has its turn before each insert."""
    return changed(
        f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $${body}$$; "
        f"CREATE TRIGGER meddle BEFORE INSERT ON {on} FOR EACH ROW EXECUTE FUNCTION meddle()",
        "DROP FUNCTION meddle CASCADE",
    )


def raising(code: str) -> Injection:
    """An injection of a trigger that ends every insert with a code."""
    return changed(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}';END$$; "
        "CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse()",
        "DROP FUNCTION refuse CASCADE",
    )


@healing
def table_locked(site: Site) -> Iterator[Strike]:
    with site.foreign_transaction() as other:
        other.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        yield None


@healing
def row_locked(site: Site) -> Iterator[Strike]:
    with site.foreign_transaction() as other:
        other.execute(FOREIGN_ROW)
        yield None


@healing
def deadlocked(site: Site) -> Iterator[Strike]:
    with site.foreign_transaction() as other:
        # Only the worker's backend looks for deadlocks in time, so it is the one that is sacrificed.
        other.execute("SET LOCAL deadlock_timeout = '60s'")
        other.execute("LOCK TABLE trades IN ACCESS EXCLUSIVE MODE")
        crossing = Thread(target=other.execute, args=("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE",))

        def cross() -> None:
            site.waiting_for_a_lock()
            crossing.start()

        yield cross
        crossing.join()


def struck_while_waiting(function: str) -> Injection:
    """An injection of a call on the worker's backend in the middle of a transaction."""

    @healing
    def inject(site: Site) -> Iterator[Strike]:
        with site.foreign_transaction() as other:
            other.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
            yield lambda: site.sql(f"SELECT {function}({site.waiting_for_a_lock()})")

    return inject


@healing
def backend_killed(site: Site) -> Iterator[Strike]:
    with site.foreign_transaction() as other:
        other.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        yield lambda: os.kill(site.waiting_for_a_lock(), signal.SIGKILL)
        eventually(lambda: postgres_answers(site.postgres_server.url))


@healing
def killed(site: Site) -> Iterator[Strike]:
    site.postgres_server.kill()
    yield None
    site.postgres_server.start()


@healing
def stopped_at_once(site: Site) -> Iterator[Strike]:
    os.kill(site.postgres_server.pid, signal.SIGQUIT)
    eventually(lambda: not site.postgres_server.is_running)
    yield None
    site.postgres_server.start()


@healing
def silent(site: Site) -> Iterator[Strike]:
    site.postgres_server.pause()
    yield None
    site.postgres_server.resume()


READ_ONLY = "default_transaction_read_only"

server_read_only = changed(
    f"ALTER SYSTEM SET {READ_ONLY} = on; SELECT pg_reload_conf()",
    f"SET {READ_ONLY} = off; ALTER SYSTEM RESET {READ_ONLY}; SELECT pg_reload_conf()",
)

CONDITIONS = [
    Condition("postgresql: deadlock", deadlocked, "40P01", False),
    Condition("postgresql: serialization failure", raising("40001"), "40001", False),
    Condition(
        "postgresql: table locked",
        table_locked,
        "Timeout|statement timeout",
        False,
        transaction_timeout_s=0.5,
    ),
    Condition(
        "postgresql: row locked", row_locked, "Timeout|statement timeout", False, transaction_timeout_s=0.5
    ),
    Condition("postgresql: statement cancelled", struck_while_waiting("pg_cancel_backend"), "57014", False),
    Condition("postgresql: session ended", struck_while_waiting("pg_terminate_backend"), "57P01", False),
    Condition("postgresql: disk full, as its code says", raising("53100"), "53100", False),
    Condition("postgresql: out of memory, as its code says", raising("53200"), "53200", False),
    Condition("postgresql: a trigger raises", raising("P0001"), "P0001", False),
    Condition(
        "postgresql: a trigger swallows rows",
        triggered("BEGIN RETURN NULL;END"),
        "0 of 10 rows of orders were stored: trigger meddle on orders",
        False,
    ),
    Condition(
        "postgresql: a trigger swallows trades",
        triggered("BEGIN RETURN NULL;END", on="trades"),
        "rows of trades were stored: trigger meddle on trades",
        False,
    ),
    Condition(
        "postgresql: a trigger changes rows",
        triggered("BEGIN NEW.symbol = lower(NEW.symbol);RETURN NEW;END"),
        r"is stored otherwise \(symbol\): trigger meddle on orders",
        False,
    ),
    Condition(
        "postgresql: a trigger that changes nothing", triggered("BEGIN PERFORM 1;RETURN NEW;END"), "", False
    ),
    Condition(
        "postgresql: too many connections",
        changed("ALTER ROLE WORKER CONNECTION LIMIT 0", "ALTER ROLE WORKER CONNECTION LIMIT -1", anew=True),
        "too many connections",
        False,
    ),
    Condition(
        "postgresql: database read-only",
        changed(
            f"ALTER DATABASE WORKER SET {READ_ONLY} = on",
            f"SET {READ_ONLY} = off; ALTER DATABASE WORKER RESET {READ_ONLY}",
            anew=True,
        ),
        "25006",
        False,
    ),
    Condition(
        "postgresql: server read-only",
        server_read_only,
        "25006",
        False,
    ),
    Condition(
        "postgresql: search path lost",
        changed(
            "ALTER ROLE WORKER SET search_path = nowhere", "ALTER ROLE WORKER RESET search_path", anew=True
        ),
        "42P01",
        False,
    ),
    Condition(
        "postgresql: permission lost",
        changed("REVOKE INSERT ON orders FROM WORKER", "GRANT INSERT ON orders TO WORKER"),
        "42501",
        False,
    ),
    Condition(
        "postgresql: table missing",
        changed("ALTER TABLE orders RENAME TO away", "ALTER TABLE away RENAME TO orders"),
        "42P01",
        False,
    ),
    Condition(
        "postgresql: column missing",
        changed(
            "ALTER TABLE trades RENAME COLUMN price TO away", "ALTER TABLE trades RENAME COLUMN away TO price"
        ),
        "42703",
        False,
    ),
    Condition(
        "postgresql: password changed",
        changed(
            "ALTER ROLE WORKER PASSWORD 'another'", f"ALTER ROLE WORKER PASSWORD '{PASSWORD}'", anew=True
        ),
        "password authentication failed",
        False,
    ),
    Condition(
        "postgresql: role may not log in",
        changed("ALTER ROLE WORKER NOLOGIN", "ALTER ROLE WORKER LOGIN", anew=True),
        "not permitted to log in",
        False,
    ),
    Condition(
        "postgresql: database refuses connections",
        changed(
            "REVOKE CONNECT ON DATABASE WORKER FROM PUBLIC",
            "GRANT CONNECT ON DATABASE WORKER TO PUBLIC",
            anew=True,
        ),
        "permission denied",
        False,
    ),
    Condition("postgresql: backend killed", backend_killed, "postgresql", False),
    Condition("postgresql: killed and started", killed, "postgresql", False),
    Condition("postgresql: immediate shutdown, crash recovery", stopped_at_once, "postgresql", False),
    Condition("postgresql: silent", silent, "not done within 3 s", False),
]
