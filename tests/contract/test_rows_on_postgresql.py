"""What only a real PostgreSQL shows: waits for another's transaction, silent servers, text it can't hold."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, text

from tests.builders import dead_record, record, trade
from tests.harness import Deployment, eventually
from worker.domain.errors import ConfigurationError, Outage, RowRefused
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord
from worker.store import Database, OrderStore

ZOMBIE = (
    "INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)"
    " VALUES ('a', '1-1', ''::bytea, 'REJECTED', 0, now())"
)

HOW_MANY = 20_000
MANY_ROWS = """
INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)
SELECT 'o' || number, number || '-1', ''::bytea, 'REJECTED', 0, now() FROM generate_series(1, %s) AS number
"""


@contextmanager
def open_transaction(deployment: Deployment) -> Iterator[psycopg.Connection]:
    """Hold the row of order `a` as a zombie does whose COMMIT is still to come."""
    with psycopg.connect(deployment.database_url) as connection:
        connection.execute(ZOMBIE.encode())
        yield connection


def waits_for_a_lock(deployment: Deployment) -> bool:
    with deployment.database.transaction() as connection:
        return bool(connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def recorded(future: Future[list[OrderRecord]]) -> OrderRecord:
    (standing,) = future.result(timeout=10)
    return standing


def test_dead_row_waits_for_a_zombie_and_leaves_it_the_order_when_it_commits(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    with open_transaction(deployment) as zombie, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(store.record, [dead_record("a")])
        eventually(lambda: waits_for_a_lock(deployment))

        zombie.commit()

        assert recorded(asked).status == "REJECTED"


def test_dead_row_is_written_when_the_zombie_gives_up(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    dead = dead_record("a")
    with open_transaction(deployment) as zombie, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(store.record, [dead])
        eventually(lambda: waits_for_a_lock(deployment))

        zombie.rollback()

        assert recorded(asked) is dead


def test_waiting_for_a_zombie_ends_in_an_outage_at_the_transaction_timeout(deployment: Deployment) -> None:
    impatient = Database(
        deployment.database_url, transaction_timeout_s=0.2, pool_size=1, application_name="impatient"
    )

    with open_transaction(deployment), pytest.raises(Outage):
        OrderStore(impatient, deployment.fleet).record([record("a")])

    impatient.close()


@pytest.mark.parametrize(
    ("limit", "most_s"),
    [
        ("statement_timeout", 30),
        ("lock_timeout", 30),
        ("idle_in_transaction_session_timeout", 30),
        ("tcp_user_timeout", 30),
        ("tcp_keepalives_idle", 10),
        ("tcp_keepalives_interval", 10),
    ],
)
def test_server_limits_whatever_a_transaction_may_wait_for(
    deployment: Deployment, limit: str, most_s: float
) -> None:
    in_seconds = text(
        "SELECT setting::float8 / CASE unit WHEN 'ms' THEN 1000 ELSE 1 END"
        " FROM pg_settings WHERE name = :name"
    )
    limited = Database(
        deployment.database_url, transaction_timeout_s=30, pool_size=1, application_name="limited"
    )

    with limited.transaction() as connection:
        limit_s = connection.scalar(in_seconds, {"name": limit})

    limited.close()
    assert 0 < limit_s < most_s


def test_transaction_that_idles_is_ended_by_the_server(deployment: Deployment) -> None:
    impatient = Database(
        deployment.database_url, transaction_timeout_s=0.1, pool_size=1, application_name="impatient"
    )

    with pytest.raises(Outage):
        _idle_until_ended(deployment, impatient)

    impatient.close()


def test_store_works_on_after_its_connection_was_cut(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.ping()
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'test' AND datname = %s"
    )
    with psycopg.connect(deployment.database_url) as other:
        other.execute(cut.encode(), [deployment.database_name])

    # A pooler may have lent another session by then, and nobody is told.
    with suppress(Outage) if deployment.servers.database_way else pytest.raises(Outage):
        store.record([record("a")])
    written = record("b", entry_id="2-1")
    (standing,) = store.record([written])

    assert standing is written


@pytest.mark.parametrize("use", ["the inbox is asked", "trades look for their orders"])
def test_rows_are_found_by_index_however_few_they_were_at_first(deployment: Deployment, use: str) -> None:
    growing = Database(
        deployment.database_url, transaction_timeout_s=30, pool_size=1, application_name="growing"
    )
    store, numbers = OrderStore(growing, deployment.fleet), count(HOW_MANY + 1)

    def a_batch() -> None:
        if use == "the inbox is asked":
            store.find([f"{number}-1" for number in range(32)])
        else:
            store.record([record(f"z{number}", entry_id=f"{number}-1") for number in islice(numbers, 32)])

    with psycopg.connect(deployment.database_url, autocommit=True) as others:
        # Known to be empty: reading such a table from end to end is the best plan there is.
        others.execute("VACUUM ANALYZE orders, trades")
    for _ in range(20):
        a_batch()
    with psycopg.connect(deployment.database_url) as others:
        others.execute(MANY_ROWS.encode(), [HOW_MANY])
    a_batch()
    # It counts what it has read when it leaves.
    growing.close()
    eventually(lambda: _has_left(deployment, "growing"))

    with deployment.database.transaction() as connection:
        read = connection.scalar(
            text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'orders'")
        )
    assert read < HOW_MANY


@pytest.mark.parametrize("kind", ["transaction", "session"])
def test_nothing_of_a_transaction_stays_whose_block_fails(deployment: Deployment, kind: str) -> None:
    database = deployment.database
    begin = database.transaction if kind == "transaction" else partial(database.session, idle_limit_ms=0)

    with pytest.raises(KeyError):
        _write_and_fail(begin)

    with begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM orders")) == 0
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_transaction_costs_two_exchanges_and_its_statements(deployment: Deployment, tmp_path: Path) -> None:
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="test")
    with opened.transaction() as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    trace = tmp_path / "trace"

    with trace.open("w", encoding="utf-8") as file:
        driver.pgconn.trace(file.fileno())
        with opened.transaction() as connection:
            connection.exec_driver_sql("SELECT 1")
        driver.pgconn.untrace()
    opened.close()

    # Begin and limits, the statement, commit: each ends with the server's word that it is ready for more.
    assert trace.read_text(encoding="utf-8").count("ReadyForQuery") == 3


def test_look_for_triggers_costs_no_exchange(deployment: Deployment, tmp_path: Path) -> None:
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="test")
    store = OrderStore(opened, deployment.fleet)
    with opened.transaction() as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    trace = tmp_path / "trace"

    with trace.open("w", encoding="utf-8") as file:
        driver.pgconn.trace(file.fileno())
        store.record([record("a")])
        driver.pgconn.untrace()
    opened.close()

    # Begin and limits, orders, trades, commit.
    assert trace.read_text(encoding="utf-8").count("ReadyForQuery") == 4


def test_row_too_large_for_an_index_is_refused_and_no_outage(deployment: Deployment) -> None:
    # Neither fits into a page of an index nor can be made smaller.
    too_long = "".join(sha256(bytes([number])).hexdigest() for number in range(150))

    with pytest.raises(RowRefused, match="54000"):
        OrderStore(deployment.entered(), deployment.fleet).record([record("a", trades=(trade(too_long),))])

    assert deployment.rows() == {}


def test_closed_database_leaves_no_thread_behind(deployment: Deployment) -> None:
    before = set(threading.enumerate())
    opened = Database(
        deployment.database_url, transaction_timeout_s=30, pool_size=1, application_name="closed"
    )
    opened.ping()
    (guard,) = set(threading.enumerate()) - before

    opened.close()

    guard.join(5)
    assert not guard.is_alive()


def test_closed_port_is_an_outage_that_shows_no_password() -> None:
    nowhere = Database(
        "postgresql://someone:hidden@127.0.0.1:1/nothing",
        transaction_timeout_s=1,
        pool_size=1,
        application_name="t",
    )

    with pytest.raises(Outage) as caught:
        OrderStore(nowhere, Fleet("orders", "order_results")).ping()

    assert "hidden" not in str(caught.value)


def test_url_of_another_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: scheme 'mysql'"):
        Database("mysql://a@b/c", transaction_timeout_s=1, pool_size=1, application_name="t")


def test_reason_of_a_refused_row_quotes_no_value_of_it(deployment: Deployment) -> None:
    with pytest.raises(RowRefused) as caught:
        OrderStore(deployment.entered(), deployment.fleet).record(
            [record("a", symbol=None, error_message="private")]
        )

    assert "private" not in str(caught.value)
    assert "orders_complete_check" in str(caught.value)


def test_row_with_half_a_surrogate_pair_is_refused(deployment: Deployment) -> None:
    with pytest.raises(RowRefused):
        OrderStore(deployment.entered(), deployment.fleet).record(
            [replace(dead_record("a"), error_message="\ud800")]
        )


def _idle_until_ended(deployment: Deployment, impatient: Database) -> None:
    with impatient.transaction() as connection:
        eventually(lambda: _has_left(deployment, "impatient"))
        connection.execute(text("SELECT 1"))


def _has_left(deployment: Deployment, application: str) -> bool:
    found = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND datname = :database"
    )
    with deployment.database.transaction() as connection:
        return not connection.scalar(found, {"name": application, "database": deployment.database_name})


def _write_and_fail(begin: Callable[[], AbstractContextManager[Connection]]) -> None:
    with begin() as connection:
        connection.exec_driver_sql(ZOMBIE)
        raise KeyError
