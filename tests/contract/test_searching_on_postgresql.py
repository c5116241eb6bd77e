"""Orders are found in the table, however long it is, by reading a bounded part of it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.dialects import postgresql

from tests.builders import record
from tests.harness import Deployment
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord, Status
from worker.domain.searching import FoundOrders, Place, Search
from worker.store import OrderSearch, OrderStore, StoreInspector
from worker.store.queries import MOST_OUTCOMES
from worker.store.searching import MOST_LOOKED_THROUGH, PAGE

OURS, ITS = Fleet("ours", "results"), Fleet("its", "other-results")
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, AT_ONCE, BATCH = 200_000, 10_000, 500
# One row in 400 is rejected; every batch of 500 is recorded at one time, a second after the one before it.
MANY = """
    INSERT INTO orders (order_id, entry_id, fingerprint, status, symbol, side, quantity, filled_quantity,
        error_message, executed_at, recorded_at, source)
    SELECT 'order-' || n, n || '-0', '\\x01', CASE WHEN n % 400 = 0 THEN 'REJECTED' ELSE 'FILLED' END,
        CASE WHEN n = 7 THEN 'RARE' ELSE 'BTCUSDT' END, 'BUY', 1, CASE WHEN n % 400 = 0 THEN 0 ELSE 1 END,
        CASE WHEN n % 400 = 0 THEN 'Too old: 5%_' || n END, at, at, 'ours'
    FROM generate_series({first}, {last}) AS n, LATERAL (
        SELECT timestamptz '2026-01-01 00:00Z' + (n - 1) / {batch} * interval '1 second' AS at) AS times"""


def rejected(order_id: str, entry_id: str, error: str) -> OrderRecord:
    return record(
        order_id,
        entry_id=entry_id,
        status=Status.REJECTED,
        filled_quantity=Decimal(0),
        average_price=None,
        trades=(),
        error_message=error,
    )


def write(deployment: Deployment, fleet: Fleet, *rows: OrderRecord) -> None:
    """Write rows one after another, so that each is recorded later than the one before."""
    for row in rows:
        OrderStore(deployment.entered(), fleet).record([row])


def found(deployment: Deployment, fleet: Fleet = OURS, **wanted: Any) -> list[str]:
    return ids(OrderSearch(deployment.entered(), fleet)(Search(**wanted)))


def ids(page: FoundOrders) -> list[str]:
    return [each.order_id for each in page.orders]


@pytest.fixture
def some(deployment: Deployment) -> Deployment:
    """Four orders of ours and one of another fleet."""
    write(
        deployment,
        OURS,
        record("a", entry_id="1-1"),
        rejected("b", "1-2", "quantity is 0: 100% wrong"),
        record("c", entry_id="1-3", symbol="ETH/USD"),
        rejected("d", "1-4", "symbol is junk"),
    )
    write(deployment, ITS, record("e", entry_id="1-1"))
    return deployment


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"identifier": "a"}, ["a"]),
        ({"identifier": "1-1"}, ["a"]),
        ({"identifier": "e"}, []),
        ({"identifier": "1-1", "status": Status.REJECTED}, []),
        ({"symbol": "ETH/USD"}, ["c"]),
        ({"symbol": "eth/usd"}, []),
        ({"status": Status.REJECTED}, ["d", "b"]),
        ({"said": "JUNK"}, ["d"]),
        ({"said": "100%"}, ["b"]),
        ({"said": "q_antity"}, []),
        ({"said": "is", "symbol": "BTCUSDT", "status": Status.REJECTED}, ["d", "b"]),
        ({"said": "' OR true --"}, []),
    ],
)
def test_orders_are_found_by_what_is_wanted_newest_first(
    some: Deployment, wanted: dict[str, Any], expected: list[str]
) -> None:
    assert found(some, **wanted) == expected


def test_each_fleet_finds_its_own_orders_and_those_without_a_source(some: Deployment) -> None:
    with some.database.transaction() as connection:
        connection.execute(text("UPDATE orders SET source = '' WHERE order_id = 'a'"))

    assert found(some, ITS) == ["e", "a"]


def test_found_row_is_told_whole(some: Deployment) -> None:
    (row,) = OrderSearch(some.entered(), OURS)(Search(identifier="b")).orders

    assert (row.entry_id, row.status, row.symbol, row.side, row.quantity, row.filled_quantity) == (
        "1-2", "REJECTED", "BTCUSDT", "BUY", Decimal("0.5"), Decimal(0),
    )  # fmt: skip
    assert (row.average_price, row.error_message) == (None, "quantity is 0: 100% wrong")


def test_window_holds_its_beginning_and_not_its_end(some: Deployment) -> None:
    times = {each.order_id: each.recorded_at for each in OrderSearch(some.entered(), OURS)(Search()).orders}

    assert found(some, since=times["b"], until=times["d"]) == ["c", "b"]


def test_nothing_in_an_empty_table_is_all_there_is(deployment: Deployment) -> None:
    page = OrderSearch(deployment.entered(), OURS)(Search(symbol="BTCUSDT"))

    assert page == FoundOrders((), 0, None, None)


@pytest.fixture
def many(deployment: Deployment) -> Deployment:
    """The rows of ours that a busy hour leaves."""
    for first in range(1, ROWS, AT_ONCE):
        # In parts: a transaction may take no longer than ten seconds, however busy the machine is.
        with deployment.database.transaction() as connection:
            connection.execute(text(MANY.format(first=first, last=first + AT_ONCE - 1, batch=BATCH)))
    with deployment.database.transaction() as connection:
        connection.execute(text("ANALYZE orders"))
    return deployment


def explained(deployment: Deployment, wanted: Search) -> list[dict[str, Any]]:
    """The nodes of the plan by which a search was run."""
    statement = OrderSearch(deployment.entered(), OURS).query(wanted)
    return nodes_of(deployment, statement)


def nodes_of(deployment: Deployment, statement: Any) -> list[dict[str, Any]]:
    dialect: Any = postgresql
    compiled = statement.compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})
    with deployment.database.transaction() as connection:
        ((plan,),) = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {str(compiled).replace('%', '%%')}"
        ).all()
    return list(_nodes(plan[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)


WINDOW = {"since": FIRST + timedelta(seconds=5), "until": FIRST + timedelta(seconds=390)}


def test_search_reads_a_bounded_part_of_a_long_table(many: Deployment) -> None:
    """Proves that no search reads the table, or sorts it, whatever is wanted."""
    wishes: list[dict[str, Any]] = [
        {},
        WINDOW,
        {"symbol": "RARE"},
        {"status": Status.REJECTED, **WINDOW},
        {"said": "no such text"},
        {"place": Place(FIRST + timedelta(seconds=200), "100250-0"), "said": "old"},
    ]
    for wanted in wishes:
        nodes = explained(many, Search(**wanted))

        of_orders = [each for each in nodes if each.get("Relation Name") == "orders"]
        assert {each["Node Type"] for each in of_orders} == {"Index Scan"}, wanted
        # Of the batch in which it ends the rest is read, too, and of one more to see that it has ended.
        read = [each["Actual Rows"] * each["Actual Loops"] for each in of_orders]
        assert max(read) <= MOST_LOOKED_THROUGH + 2 * BATCH, wanted


def test_search_goes_on_until_everything_was_looked_through(many: Deployment) -> None:
    """Proves that no row is missed or met twice between pages, within a batch recorded at one time."""
    search, place, looked = OrderSearch(many.entered(), OURS), None, 0
    met: list[str] = []
    for _ in range(ROWS // MOST_LOOKED_THROUGH + 1):
        page = search(Search(symbol="RARE", place=place))
        met, looked, place = met + ids(page), looked + page.looked_through, page.older
        if place is None:
            break

    assert (met, looked, place) == (["order-7"], ROWS, None)


def test_pages_of_a_search_follow_one_another(many: Deployment) -> None:
    search = OrderSearch(many.entered(), OURS)
    first = search(Search(status=Status.REJECTED))
    second = search(Search(status=Status.REJECTED, place=first.older))

    expected = [f"order-{n}" for n in range(ROWS, 0, -400)]
    assert (ids(first), ids(second)[:2]) == (expected[:25], expected[25:27])
    assert first.older is not None
    assert (first.looked_through, first.down_to) == (MOST_LOOKED_THROUGH, first.older.recorded_at)
    assert len(ids(search(Search()))) == PAGE
    assert ids(search(Search(place=search(Search()).older)))[0] == f"order-{ROWS - PAGE}"


def test_order_is_looked_up_by_its_indexes_in_a_long_table(many: Deployment) -> None:
    search = OrderSearch(many.entered(), OURS)

    nodes = nodes_of(many, search.named(Search(identifier="order-9")))

    assert "Seq Scan" not in {each["Node Type"] for each in nodes}
    assert sum(each["Actual Rows"] for each in nodes if each.get("Relation Name") == "orders") <= 1
    assert ids(search(Search(identifier="order-9"))) == ["order-9"]


@pytest.fixture
def busy_hour(many: Deployment) -> Deployment:
    """The same rows, recorded within the last hundredth of an hour before now."""
    with many.database.transaction() as connection:
        newest = connection.scalar(text("SELECT max(recorded_at) FROM orders"))
    for first in range(1, ROWS, AT_ONCE):
        with many.database.transaction() as connection:
            connection.execute(
                text(
                    "UPDATE orders SET recorded_at = now() - (:newest - recorded_at) / 10"
                    " WHERE order_id = ANY (:ids)"
                ),
                {"newest": newest, "ids": [f"order-{n}" for n in range(first, first + AT_ONCE)]},
            )
    with many.database.transaction() as connection:
        connection.execute(text("ANALYZE orders"))
    return many


def test_first_page_reads_a_bounded_part_of_a_long_table(busy_hour: Deployment) -> None:
    """Proves that counting for the page of the fleet reads no table, however many orders an hour has."""
    database = busy_hour.entered()
    inspector, asked = StoreInspector(database, OURS), list[tuple[str, Any]]()
    engine = database._engine  # noqa: SLF001  what is sent, as it is sent

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    took = inspector.state().took
    inspector.outcomes([])
    event.remove(engine, "before_cursor_execute", note)

    about_orders = [
        each for each in asked if re.search(r"\bFROM \(*(SELECT .*)?orders\b", each[0], re.DOTALL)
    ]
    with busy_hour.database.transaction() as connection:
        plans = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
            for statement, parameters in about_orders
        ]
        nodes = [node for plan in plans for node in _nodes(plan.all()[0][0][0]["Plan"])]
    of_orders = [each for each in nodes if each.get("Relation Name") == "orders"]
    assert took is not None
    assert len(about_orders) >= 4
    assert {each["Node Type"] for each in of_orders} <= {"Index Scan", "Index Only Scan"}
    assert max(each["Actual Rows"] * each["Actual Loops"] for each in of_orders) <= MOST_OUTCOMES
