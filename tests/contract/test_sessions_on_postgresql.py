"""Rows come back as they were written, whatever role, database and environment say.

They may say something of text, numbers, times and backslashes.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import text

from tests.builders import AT, dead_record, record
from tests.faults.moving import through
from tests.harness import Deployment, eventually
from tests.pooler import MODES, pooled
from tests.saturated import saturable
from tests.skips import Reason, skip
from worker.domain.errors import Outage, TimedOut
from worker.domain.orders import Labels, OrderRecord
from worker.store import Database, OrderStore, StoreInspector
from worker.store.engine import copy

SETTINGS = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "America/St_Johns",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "jit": "on",
}
MEANT = {
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
}
COPIED, INSERTED = (
    replace(
        record(name, entry_id=f"{place}-1", labels=Labels(reason=reason)),
        executed_at=AT + timedelta(days=40 * place),
        fingerprint=bytes(range(place, place + 33)),
        average_price=Decimal("0.10000000000000000000000000001"),
    )
    for place, (name, reason) in enumerate(
        [("a", r"c:\new 突破 \x41 \\"), ("b", "c:\\new 突破 \\x41 \\\\\t")], 90
    )
)


@pytest.fixture(params=SETTINGS)
def unlike(request: pytest.FixtureRequest, deployment: Deployment) -> Deployment:
    """A database that sets one of them otherwise for each session."""
    return set_otherwise(deployment, request.param)


def set_otherwise(deployment: Deployment, *names: str) -> Deployment:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        for name in names:
            statement = f"ALTER DATABASE {deployment.database_name} SET {name} = '{SETTINGS[name]}'"
            connection.execute(statement.encode())
    return deployment


def written_and_found(
    database: Database, deployment: Deployment, *rows: OrderRecord
) -> dict[str, OrderRecord]:
    """Write each row in a batch of its own; return what stands, by order id."""
    store = OrderStore(database, deployment.fleet)
    for row in rows:
        store.record([row])
    found = store.find([row.entry_id for row in rows])
    return {row.order_id: row for row in found.values()}


def assert_rows_come_back(deployment: Deployment) -> None:
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="t")
    try:
        found = written_and_found(opened, deployment, COPIED, INSERTED)
        outcomes = StoreInspector(opened, deployment.fleet).outcomes([])
    finally:
        opened.close()
    assert found == {"a": COPIED, "b": INSERTED}
    assert outcomes.last_hour == {"FILLED": 2}


def test_rows_come_back_as_they_were_written_whatever_the_database_sets(unlike: Deployment) -> None:
    assert_rows_come_back(unlike)


def test_rows_come_back_as_they_were_written_whatever_the_environment_says(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (f"-c {name}={value}" for name, value in SETTINGS.items() if name != "client_encoding")
    monkeypatch.setenv("PGOPTIONS", " ".join(options))
    monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")

    assert_rows_come_back(deployment)


def test_url_can_not_ask_for_another_encoding(deployment: Deployment) -> None:
    url = f"{deployment.database_url}{'&' if '?' in deployment.database_url else '?'}client_encoding=LATIN1"
    opened = Database(url, transaction_timeout_s=10, pool_size=1, application_name="t")

    found = written_and_found(opened, deployment, COPIED)

    opened.close()
    assert found == {"a": COPIED}


@pytest.mark.parametrize("kind", ["transaction", "session"])
def test_everything_with_a_meaning_is_set_within_each_transaction(deployment: Deployment, kind: str) -> None:
    set_otherwise(deployment, *MEANT)
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="t")
    begin = opened.transaction() if kind == "transaction" else opened.session(idle_limit_ms=0)

    with begin as connection:
        found = {name: str(connection.scalar(text(f"SHOW {name}"))) for name in MEANT}

    opened.close()
    assert found == MEANT


@pytest.mark.parametrize("kind", ["transaction", "session"])
@pytest.mark.parametrize("said", ['"$user", elsewhere, public', "elsewhere", ""])
def test_tables_are_where_the_database_says_whatever_others_have_left_in_the_session(
    deployment: Deployment, kind: str, said: str
) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        set_to = said or "''"
        connection.execute(f"ALTER DATABASE {deployment.database_name} SET search_path = {set_to}".encode())
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="t")
    with opened.transaction() as connection:
        connection.exec_driver_sql("SET search_path = staging")
    begin = opened.transaction() if kind == "transaction" else opened.session(idle_limit_ms=0)

    with begin as connection:
        found = connection.scalar(text("SHOW search_path"))

    opened.close()
    assert found == (said or '""')


@pytest.mark.parametrize("kind", ["transaction", "session"])
def test_tables_are_where_the_url_says_also_where_a_pooler_keeps_that_to_itself(
    deployment: Deployment, tmp_path: Path, kind: str
) -> None:
    ignoring = {"ignore_startup_parameters": "extra_float_digits,options"}
    with pooled(deployment, tmp_path, **ignoring) as behind:
        url = f"{behind.database_url}?options=-c%20search_path%3D%22it%27s%5C%20here%22%2Cpublic"
        opened = Database(url, transaction_timeout_s=10, pool_size=1, application_name="t")
        begin = opened.transaction() if kind == "transaction" else opened.session(idle_limit_ms=0)

        with begin as connection:
            found = connection.scalar(text("SHOW search_path"))

        opened.close()
    assert found == '"it\'s here",public'


@pytest.fixture
def timed_otherwise(deployment: Deployment, request: pytest.FixtureRequest) -> Deployment:
    """A database that limits each transaction by itself."""
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        if connection.execute("SELECT current_setting('transaction_timeout', true)").fetchone() == (None,):
            skip(Reason.NO_TRANSACTION_TIMEOUT)
        limit = f"ALTER DATABASE {deployment.database_name} SET transaction_timeout = '{request.param}'"
        connection.execute(limit.encode())
    return deployment


@pytest.mark.parametrize("timed_otherwise", ["300ms"], indirect=True)
def test_transaction_may_take_longer_than_the_database_says(timed_otherwise: Deployment) -> None:
    opened = Database(
        timed_otherwise.database_url, transaction_timeout_s=10, pool_size=1, application_name="t"
    )

    with opened.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(0.6)"))
        found = connection.scalar(text("SELECT 1"))

    opened.close()
    assert found == 1


@pytest.mark.parametrize("timed_otherwise", ["1h"], indirect=True)
def test_server_ends_a_transaction_after_our_time_where_the_database_gives_it_more(
    timed_otherwise: Deployment,
) -> None:
    opened = Database(
        timed_otherwise.database_url, transaction_timeout_s=3, pool_size=1, application_name="t"
    )

    with pytest.raises(TimedOut, match="25P04"), opened.transaction() as connection:
        eventually(lambda: connection.scalar(text("SELECT pg_sleep(0.2) IS NULL")))

    opened.close()


@pytest.mark.parametrize("pool_mode", MODES)
@pytest.mark.parametrize(
    ("meanwhile", "kind"),
    [("pg_sleep(10)", TimedOut), ("pg_terminate_backend(pg_backend_pid())", Outage)],
    ids=["too long", "ended"],
)
def test_copy_that_takes_too_long_behind_a_pooler_is_told_from_a_session_that_was_ended(
    deployment: Deployment, tmp_path: Path, pool_mode: str, meanwhile: str, kind: type[Outage]
) -> None:
    """Proves what PgBouncer hides by an error of its own: only what took too long is written in parts."""
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        statements = (
            "CREATE TABLE t (a int); CREATE FUNCTION meanwhile() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM {meanwhile}; RETURN NEW; END $$;"
            "CREATE TRIGGER meanwhile BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION meanwhile()"
        )
        connection.execute(statements.encode())
    with pooled(deployment, tmp_path, pool_mode=pool_mode) as behind:
        opened = Database(behind.database_url, transaction_timeout_s=3, pool_size=1, application_name="t")

        with pytest.raises(Outage) as raised, opened.transaction() as connected:
            copy(connected, "COPY t FROM STDIN", b"1\n")

        opened.ping()
        opened.close()
    assert raised.type is kind


@pytest.mark.parametrize("kind", ["transaction", "session"])
def test_first_connection_of_a_process_is_given_up_when_a_pooler_lets_it_in_and_says_nothing_more(
    deployment: Deployment, kind: str
) -> None:
    with saturable(deployment.database_url) as pooler:
        pooler.paused.set()
        url = through(deployment.database_url, pooler.port)
        opened = Database(url, transaction_timeout_s=1, pool_size=1, application_name="t")
        begin = opened.transaction() if kind == "transaction" else opened.session(idle_limit_ms=0)

        with pytest.raises(Outage, match=r"not done within 1 s \(WORKER_TRANSACTION_TIMEOUT_S\)"), begin:
            pytest.fail("it was let in")
        pooler.paused.clear()

        opened.ping()
        opened.close()


def test_nothing_is_compiled_before_it_runs_whatever_the_database_sets(deployment: Deployment) -> None:
    set_otherwise(deployment, "jit")
    opened = Database(deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="t")

    with opened.transaction() as connection:
        found = connection.scalar(text("SHOW jit"))

    opened.close()
    assert found == "off"


def test_dead_row_says_what_it_said_whatever_the_database_sets(deployment: Deployment) -> None:
    row = dead_record("a", error=r"failed: c:\temp 突破")

    assert written_and_found(set_otherwise(deployment, *MEANT).database, deployment, row) == {"a": row}
