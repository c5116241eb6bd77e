"""What is new of a batch is copied; a batch that can't be is inserted; what stands there is the same."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, event

from tests.builders import dead_record, record, trade
from tests.harness import Deployment, eventually
from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import Labels, OrderRecord
from worker.store import Database, OrderStore
from worker.store.rows import COPY_ORDERS, COPY_TRADES, order_lines, trade_lines


@contextmanager
def ways_taken() -> Iterator[list[str]]:
    """Note how orders and trades are written, and where is asked which are known."""
    taken: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(("COPY", "INSERT")):
            taken.append(" ".join(statement.replace("INTO ", "").split()[:2]))
        elif " OR orders.entry_id = ANY" in statement:
            taken.append("asked")

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield taken
    finally:
        event.remove(Engine, "before_cursor_execute", note)


# Whether anybody waits for a session.
_AWAITED = "SELECT bool_or(%s = ANY(pg_blocking_pids(pid))) FROM pg_stat_activity"


def numbered(first: int, count: int) -> list[OrderRecord]:
    return [record(f"o{number}", entry_id=f"{number}-1") for number in range(first, first + count)]


@contextmanager
def committed_while_awaited(deployment: Deployment, row: OrderRecord) -> Iterator[None]:
    """Be a replica that has written a row, and commits as soon as somebody waits for it."""
    with psycopg.connect(deployment.database_url) as replica, ThreadPoolExecutor() as pool:
        with replica.cursor() as cursor, cursor.copy(COPY_ORDERS.encode()) as rows:
            rows.write(order_lines([row], deployment.fleet.source))
        with replica.cursor() as cursor, cursor.copy(COPY_TRADES.encode()) as rows:
            rows.write(trade_lines([row]))
        committed = pool.submit(_commit_once_awaited, replica, deployment.database_url)
        yield
        committed.result()


def _commit_once_awaited(replica: psycopg.Connection, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as looking:
        eventually(lambda: looking.execute(_AWAITED, [replica.info.backend_pid]).fetchone() == (True,))
    replica.commit()


def url_with(deployment: Deployment, option: str) -> str:
    url = deployment.database_url
    return f"{url}{'&' if '?' in url else '?'}{option}"


def are_theirs(standing: Sequence[OrderRecord], records: Sequence[OrderRecord]) -> bool:
    """Whether each record was written, as what is returned says."""
    return all(stands is mine for stands, mine in zip(standing, records, strict=True))


def test_new_orders_are_copied(deployment: Deployment) -> None:
    new = [*numbered(1, 3), dead_record("o4", entry_id="4-1")]

    with ways_taken() as taken:
        standing = OrderStore(deployment.entered(), deployment.fleet).record(new)

    assert taken == ["COPY orders", "COPY trades"]
    assert are_theirs(standing, new)
    assert deployment.rows() == {row.order_id: row for row in new}


# As an order that was there before is sent again: by another entry, or as another order by its own.
AGAIN = {"order": record("o1", entry_id="9-1"), "entry": record("renamed", entry_id="1-1")}


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_what_was_there_is_taken_out_and_the_rest_is_copied(
    deployment: Deployment, again: OrderRecord
) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    (known,) = store.record(numbered(1, 1))
    new = numbered(2, 2)

    with ways_taken() as taken:
        standing = store.record([new[0], again, new[1]])

    assert taken == ["COPY orders", "asked", "COPY orders", "COPY trades"]
    assert standing == [new[0], known, new[1]]
    assert are_theirs([standing[0], standing[2]], new)
    assert deployment.rows() == {row.order_id: row for row in [known, *new]}


def test_known_orders_are_asked_for_before_the_copy_until_a_batch_has_none(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.record(numbered(1, 3))
    store.record(numbered(1, 1))

    with ways_taken() as some_known:
        store.record([*numbered(2, 1), *numbered(10, 2)])
    with ways_taken() as all_known:
        standing = store.record(numbered(1, 3))
    with ways_taken() as none_known:
        store.record(numbered(20, 2))
    with ways_taken() as in_the_end:
        store.record(numbered(30, 2))

    assert some_known == none_known == ["asked", "COPY orders", "COPY trades"]
    assert all_known == ["asked"]
    assert [row.entry_id for row in standing] == ["1-1", "2-1", "3-1"]
    assert in_the_end == ["COPY orders", "COPY trades"]
    assert len(deployment.rows()) == 9


def test_order_whose_first_entry_has_a_row_of_another_order_belongs_to_its_second(
    deployment: Deployment,
) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    (known,) = store.record(numbered(1, 1))
    renamed, second = record("b", entry_id=known.entry_id), record("b", entry_id="5-1")

    standing = store.record([renamed, second])

    # As where it is inserted: of two rows that could stand for the first entry, that of the same order does.
    assert standing[1] is second
    assert deployment.rows() == {"o1": known, "b": second}


def test_order_that_stands_twice_in_a_batch_belongs_to_the_first_of_its_entries(
    deployment: Deployment,
) -> None:
    first, second = record("a", entry_id="1-1"), record("a", entry_id="2-1", fingerprint=b"\x01" + bytes(32))

    with ways_taken() as taken:
        standing = OrderStore(deployment.entered(), deployment.fleet).record([first, second])

    assert standing[0] is first
    assert standing[1] == first
    assert taken == ["COPY orders", "COPY trades"]


def test_order_that_another_replica_is_just_writing_is_waited_for_and_the_rest_is_written(
    deployment: Deployment,
) -> None:
    mine, theirs, new = record("a", entry_id="8-1"), record("a", entry_id="7-1"), numbered(1, 2)
    store = OrderStore(deployment.entered(), deployment.fleet)

    with committed_while_awaited(deployment, theirs), ways_taken() as taken:
        standing = store.record([mine, *new])

    assert taken == ["COPY orders", "asked", "COPY orders", "COPY trades"]
    assert standing == [theirs, *new]


def test_order_that_another_replica_writes_after_it_was_asked_for_has_the_batch_inserted(
    deployment: Deployment,
) -> None:
    mine, theirs, new = record("a", entry_id="8-1"), record("a", entry_id="7-1"), numbered(1, 2)
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.record(numbered(9, 1))
    store.record(numbered(9, 1))

    with committed_while_awaited(deployment, theirs), ways_taken() as taken:
        standing = store.record([mine, *numbered(9, 1), *new])

    assert taken == ["asked", "COPY orders", "INSERT orders", "INSERT trades"]
    assert [row.entry_id for row in standing] == ["7-1", "9-1", "1-1", "2-1"]


@pytest.mark.parametrize("inserted", [False, True])
def test_rows_are_written_by_order_id_either_way_so_that_replicas_never_wait_in_a_circle(
    deployment: Deployment, *, inserted: bool
) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    escaped = Labels(reason="\n") if inserted else Labels()

    store.record([record(name, entry_id=f"9-{place}", labels=escaped) for place, name in enumerate("dcfbe")])

    with psycopg.connect(deployment.database_url) as connection:
        written = connection.execute("SELECT order_id FROM orders WHERE order_id <> 'a' ORDER BY ctid")
        assert [order_id for (order_id,) in written] == list("bcdef")


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "tab\t", "]\n[", "\\\t", "\\\\\r", '"\b"', "\u0001", "\\.\n"],
)
def test_text_with_a_control_character_is_inserted(deployment: Deployment, text: str) -> None:
    row = record("a", labels=Labels(reason=text))
    store = OrderStore(deployment.entered(), deployment.fleet)

    with ways_taken() as taken:
        store.record([row])
    with ways_taken() as others:
        store.record(numbered(2, 1))

    assert taken == ["INSERT orders", "INSERT trades"]
    assert others == ["COPY orders", "COPY trades"]
    assert deployment.rows()["a"] == row


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "NULL", ",", "],[", "'", "é\u2028🙂", " ", "{}", "\u007f"),
        *(
            "back\\slash",
            '"quoted"',
            "\\.",
            "\\N",
            "\\n",
            "\\\\t",
            '\\"',
            '"\\',
            '\\\\"',
            "\\",
            '"',
            '","',
            '\\",\\"',
        ),
    ],
)
def test_any_other_text_is_copied_as_it_is(deployment: Deployment, text: str) -> None:
    row = record("a", labels=Labels(reason=text, bot_id=text))

    with ways_taken() as taken:
        OrderStore(deployment.entered(), deployment.fleet).record([row])

    assert taken == ["COPY orders", "COPY trades"]
    assert deployment.rows()["a"] == row


def test_row_that_no_table_can_hold_is_refused_either_way_and_nothing_is_written(
    deployment: Deployment,
) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    twice = (trade("t", quantity=Decimal("0.2")), trade("t", quantity=Decimal("0.3")))

    with ways_taken() as taken, pytest.raises(RowRefused, match="trades_pkey"):
        store.record([*numbered(1, 2), record("a", entry_id="7-1", trades=twice)])

    assert taken == ["COPY orders", "COPY trades", "INSERT orders", "INSERT trades"]
    assert deployment.rows() == {}
    with ways_taken() as others:
        store.record(numbered(1, 2))
    assert others == ["COPY orders", "COPY trades"]


def test_table_that_can_not_be_copied_to_is_inserted_into(deployment: Deployment) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as admin:
        admin.execute(
            """
            DROP ROLE IF EXISTS kept_apart;
            CREATE ROLE kept_apart;
            GRANT USAGE ON SCHEMA public TO kept_apart;
            GRANT ALL ON orders, trades TO kept_apart;
            ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
            CREATE POLICY everything ON orders USING (true)
            """
        )
    apart = Database(
        url_with(deployment, "options=-c%20role%3Dkept_apart"),
        transaction_timeout_s=10,
        pool_size=1,
        application_name="apart",
    )
    new = numbered(1, 2)

    with ways_taken() as taken:
        standing = OrderStore(apart, deployment.fleet).record(new)

    apart.close()
    assert taken == ["COPY orders", "INSERT orders", "INSERT trades"]
    assert are_theirs(standing, new)


def test_replay_is_inserted(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.record([dead_record("a", entry_id="1-1")])
    replay = replace(record("a", entry_id="2-1"), replay_of="1-1")

    with ways_taken() as taken:
        (standing,) = store.record([replay])

    assert "COPY orders" not in taken
    assert standing is replay


def test_rows_of_a_database_in_another_encoding_are_what_was_sent(deployment: Deployment) -> None:
    latin = Database(
        url_with(deployment, "client_encoding=latin1"),
        transaction_timeout_s=10,
        pool_size=1,
        application_name="latin",
    )
    row = replace(record("a"), labels=Labels(reason="é"))

    with ways_taken() as taken:
        OrderStore(latin, deployment.fleet).record([row])

    latin.close()
    assert taken == ["COPY orders", "COPY trades"]
    assert deployment.rows()["a"] == row


@contextmanager
def stopped_in_a_copy(deployment: Deployment, records: Sequence[OrderRecord]) -> Iterator[None]:
    """Be a replica that was stopped when its orders were copied and the rows of their trades awaited."""
    with psycopg.connect(deployment.database_url) as stopped, stopped.cursor() as cursor:
        with cursor.copy(COPY_ORDERS.encode()) as rows:
            rows.write(order_lines(records, deployment.fleet.source))
        with suppress(psycopg.OperationalError), cursor.copy(COPY_TRADES.encode()):
            yield


def test_order_that_a_stopped_replica_has_half_copied_can_be_recorded_after_the_transaction_timeout(
    deployment: Deployment,
) -> None:
    impatient = Database(
        deployment.database_url, transaction_timeout_s=0.5, pool_size=1, application_name="impatient"
    )
    store, mine = OrderStore(impatient, deployment.fleet), record("a", entry_id="1-1")

    with stopped_in_a_copy(deployment, [record("a", entry_id="1-1")]):
        with pytest.raises(Outage):
            store.record([mine])
        store.ping()
        (standing,) = store.record([mine])

    impatient.close()
    assert standing is mine


def test_copy_that_is_under_way_is_left_alone(deployment: Deployment) -> None:
    with stopped_in_a_copy(deployment, numbered(1, 1)):
        OrderStore(deployment.entered(), deployment.fleet).ping()

    assert deployment.rows().keys() == {"o1"}
