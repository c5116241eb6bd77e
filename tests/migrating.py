"""Databases as migrations find them: as the last version has left them, large, locked, half migrated."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, Thread
from time import monotonic
from typing import Any
from urllib.parse import quote

import psycopg
from msgspec import Struct
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url

from tests.harness import Deployment, Servers
from tests.processes import ROOT
from worker.domain.database_state import SchemaState
from worker.store import Database, migrations, schema
from worker.store.ground import VERSION_TABLE
from worker.store.tables import metadata

# Whoever migrates holds its turn, works, and says what it waits for.
CONNECTIONS = 3
IS_BEING_BUILT = (
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('orders_entry_id_source_key') AND NOT indisvalid"
)

HAS_BEEN_BUILT_FOR = (
    "SELECT 1 FROM pg_stat_activity"
    " WHERE query LIKE 'CREATE UNIQUE INDEX%%' AND query_start < now() - make_interval(secs => %s)"
)
DROP_ALL = f"DROP TABLE {', '.join([*metadata.tables, VERSION_TABLE])}"
INDEXES = ["orders_entry_id_source_key", "orders_pkey", "orders_recorded_at_idx"]
_INDEXES = (
    "SELECT indexrelid::regclass::text FROM pg_index"
    " WHERE indrelid = 'orders'::regclass AND indisvalid ORDER BY 1"
)
_END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'migrating'"
)
_MANY = (
    "INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)"
    " SELECT 'order-' || n, n || '-0', '', 'REJECTED', 0, now() FROM generate_series(1, %s) AS n"
)
_INSERT = (
    "INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)"
    " VALUES (%s, %s, %s, %s, %s, %s)"
)
_COPY = "COPY orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at) FROM STDIN"


@contextmanager
def session(deployment: Deployment, **settings: Any) -> Iterator["psycopg.Connection[Any]"]:
    """Somebody else's session, each statement a transaction unless told otherwise, also through a pooler."""
    with psycopg.connect(
        deployment.database_url, autocommit=True, prepare_threshold=None, **settings
    ) as connection:
        yield connection


@contextmanager
def looking(deployment: Deployment) -> Iterator["psycopg.Connection[Any]"]:
    """A session of somebody who goes on seeing the database as it is now."""
    with session(deployment, application_name="a person") as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield connection


def ask(deployment: Deployment, question: str, *parameters: object) -> list[Any]:
    """The first column of what a query returns."""
    with session(deployment) as connection:
        return [row[0] for row in connection.execute(question.encode(), parameters or None)]


def execute(deployment: Deployment, *statements: str) -> None:
    with session(deployment) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def database_of(servers: Servers, template: str = "template1") -> Iterator[Deployment]:
    """A database that nobody else uses, copied from another."""
    name = f"m{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            with Deployment(servers, name, name) as made:
                yield made
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def indexes(deployment: Deployment) -> list[str]:
    """The indexes of the orders that queries may use."""
    return ask(deployment, _INDEXES)


def is_current(deployment: Deployment) -> bool:
    return schema.schema_state(deployment.database) is SchemaState.CURRENT


def relations(deployment: Deployment) -> set[str]:
    """Whatever stands in the schemas of a database, with its columns."""
    return set(
        ask(
            deployment,
            "SELECT format('%s %s.%s %s', relkind, nspname, relname,"
            " (SELECT array_agg(attname ORDER BY attnum)"
            " FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped)) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname !~ '^(pg_|information_schema)'",
        )
    )


def made_by_the_last_version(deployment: Deployment, *, orders: int = 0) -> None:
    """Have the tables that the last version makes, recorded where it records them, with so many orders."""
    migrations.upgrade(deployment.database, "0001")
    execute(
        deployment,
        "ALTER TABLE orders_worker_version RENAME TO alembic_version",
        "ALTER INDEX orders_worker_version_pkc RENAME TO alembic_version_pkc",
    )
    with session(deployment) as connection:
        connection.execute(_MANY, (orders,))
        connection.execute("ANALYZE orders")


@contextmanager
def migrating(deployment: Deployment, **defaults: str) -> Iterator[Thread]:
    """Migrate in a thread beside the block, with defaults as a role may have them, and wait until it is done.

    What it raises is raised here.
    """
    raised: list[BaseException] = []
    options = quote(" ".join(f"-c {name}={value}" for name, value in defaults.items()))
    database = Database(
        deployment.database_url + (f"?options={options}" if options else ""),
        transaction_timeout_s=10, pool_size=CONNECTIONS, application_name="migrating",
    )  # fmt: skip

    def migrate() -> None:
        try:
            migrations.upgrade(database)
        except BaseException as error:  # noqa: BLE001  raised again
            raised.append(error)

    thread = Thread(target=migrate, name="migration")
    thread.start()
    try:
        yield thread
    except BaseException:
        # It may be waiting for what the test that failed still holds.
        ask(deployment, _END_ALL)
        raise
    finally:
        thread.join(timeout=60)
        database.close()
    assert not thread.is_alive()
    for error in raised:
        raise error


@contextmanager
def watched(when: str, look: Callable[[Connection, str], None]) -> Iterator[None]:
    """Call with each statement of a block, before or after it is executed."""

    def called(connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        look(connection, statement)

    event.listen(Engine, f"{when}_cursor_execute", called)
    try:
        yield
    finally:
        event.remove(Engine, f"{when}_cursor_execute", called)


@contextmanager
def migrate_process(deployment: Deployment) -> Iterator["subprocess.Popen[str]"]:
    """Run `worker migrate` beside the block."""
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "migrate"],
        cwd=ROOT, env=deployment.process_environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.communicate()


class Writer(Struct):
    """Somebody who goes on writing orders, as the last version does."""

    longest_s: float = 0
    written: int = 0


@contextmanager
def writing(deployment: Deployment, name: str, *, copies: bool) -> Iterator[Writer]:
    """Write an order after the other, by INSERT or by COPY, beside the block; a failure is raised here."""
    over, writer, raised = Event(), Writer(), []

    def write() -> None:
        try:
            with session(deployment) as connection:
                while not over.is_set():
                    began = monotonic()
                    _write(connection, f"{name}-{writer.written}", copies=copies)
                    writer.longest_s = max(writer.longest_s, monotonic() - began)
                    writer.written += 1
        except psycopg.Error as error:
            raised.append(error)

    thread = Thread(target=write, name=f"writes by {name}")
    thread.start()
    try:
        yield writer
    finally:
        over.set()
        thread.join(timeout=60)
    for error in raised:
        raise error


def _write(connection: "psycopg.Connection[Any]", entry_id: str, *, copies: bool) -> None:
    row = (entry_id, entry_id, b"", "REJECTED", 0, "now")
    if copies:
        with connection.cursor().copy(_COPY) as copy:
            copy.write_row(row)
    else:
        connection.execute(_INSERT, row)


@contextmanager
def role(deployment: Deployment) -> Iterator[Deployment]:
    """The same for a role of its own that may do no more than make tables."""
    name = f"Role of {deployment.name}"
    execute(
        deployment,
        f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'throw-away'",
        f'GRANT CREATE, USAGE ON SCHEMA public TO "{name}"',
    )
    url = make_url(deployment.servers.database_url).set(username=name, password="throw-away")
    servers = replace(deployment.servers, database_url=url.render_as_string(hide_password=False))
    try:
        with deployment.elsewhere(servers) as made:
            yield made
    finally:
        execute(deployment, f'DROP OWNED BY "{name}" CASCADE', f'DROP ROLE "{name}"')
