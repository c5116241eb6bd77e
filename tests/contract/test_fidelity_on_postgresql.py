"""What others made on our tables may swallow or change rows: nothing is written then, and it is named."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import psycopg
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.builders import dead_record, record
from tests.harness import Deployment, eventually
from worker.domain.errors import Outage
from worker.domain.orders import Labels, OrderRecord, Status
from worker.store import OrderStore

WRITTEN = record("b", entry_id="2-1")
SUBMITTED = replace(
    WRITTEN, status=Status.SUBMITTED, filled_quantity=Decimal(0), average_price=None, trades=()
)
DEAD = dead_record("b", entry_id="2-1")
REPLAY = replace(record("b", entry_id="3-1"), replay_of="2-1")


def trigger(table: str, body: str, *, when: str = "BEFORE INSERT", kind: str = "TRIGGER") -> str:
    deferred = "" if kind == "TRIGGER" else "INITIALLY DEFERRED"
    return (
        f"CREATE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$;"
        f"CREATE {kind} meddles {when} ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION meddles()"
    )


@dataclass(frozen=True)
class Meddling:
    """What somebody makes, and what is told of a row that is written then."""

    made: str
    told: str
    before: OrderRecord | None = None
    written: OrderRecord = WRITTEN
    # What is told where it is inserted, if not the same.
    inserted: str | None = None


MARKS_AS_SEEN = "UPDATE orders SET reason = 'seen' WHERE order_id = NEW.order_id; RETURN NULL;"

MEDDLINGS = {
    "an order swallowed": Meddling(
        trigger("orders", "IF NEW.order_id = 'b' THEN RETURN NULL; END IF; RETURN NEW;"),
        "2 of 3 rows of orders were stored: trigger meddles on orders",
        inserted="the row of order b was not stored: trigger meddles on orders",
    ),
    "trades swallowed": Meddling(
        trigger("trades", "RETURN NULL;"), "0 of 3 rows of trades were stored: trigger meddles on trades"
    ),
    "a symbol changed": Meddling(
        trigger("orders", "NEW.symbol := lower(NEW.symbol); RETURN NEW;"),
        r"order a is stored otherwise \(symbol\): trigger meddles on orders",
    ),
    "a fill changed": Meddling(
        trigger("trades", "NEW.price := NEW.price + 1; RETURN NEW;"),
        r"order a is stored otherwise \(trades\): trigger meddles on trades",
    ),
    "an owner changed": Meddling(
        trigger("orders", "NEW.entry_id := '9-' || ascii(NEW.order_id); RETURN NEW;"),
        r"order a is stored otherwise \(entry_id\): trigger meddles on orders",
        inserted="a row was stored with another entry id: trigger meddles on orders",
    ),
    "a source changed": Meddling(
        trigger("orders", "NEW.source := 'theirs'; RETURN NEW;"),
        r"order a is stored otherwise \(source\): trigger meddles on orders",
    ),
    "changed afterwards": Meddling(
        trigger("orders", MARKS_AS_SEEN, when="AFTER INSERT"),
        r"order a is stored otherwise \(labels\): trigger meddles on orders",
    ),
    "changed at the commit": Meddling(
        trigger("orders", MARKS_AS_SEEN, when="AFTER INSERT", kind="CONSTRAINT TRIGGER"),
        r"order a is stored otherwise \(labels\): trigger meddles on orders",
    ),
    "an outcome swallowed": Meddling(
        trigger("orders", "RETURN NULL;", when="BEFORE UPDATE"),
        "the row of order b was not updated: trigger meddles on orders",
        SUBMITTED,
    ),
    "an outcome changed": Meddling(
        trigger("orders", "NEW.error_message := 'x'; RETURN NEW;", when="BEFORE UPDATE"),
        r"order b is stored otherwise \(error_message\): trigger meddles on orders",
        SUBMITTED,
    ),
    "a replay swallowed": Meddling(
        trigger("orders", "RETURN NULL;", when="BEFORE UPDATE"),
        "the row of order b was not updated: trigger meddles on orders",
        DEAD,
        REPLAY,
    ),
    "a replay changed": Meddling(
        trigger("orders", "NEW.quantity := NEW.quantity + 1; RETURN NEW;", when="BEFORE UPDATE"),
        r"order b is stored otherwise \(quantity\): trigger meddles on orders",
        DEAD,
        REPLAY,
    ),
}


def make(deployment: Deployment, statements: str) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.mark.parametrize("inserted", [False, True], ids=["copied", "inserted"])
@pytest.mark.parametrize("known", [False, True], ids=["made meanwhile", "made before"])
@pytest.mark.parametrize("meddling", MEDDLINGS.values(), ids=MEDDLINGS)
def test_nothing_is_written_and_it_is_told_by_name_when_rows_are_not_stored_as_they_are(
    deployment: Deployment, meddling: Meddling, *, known: bool, inserted: bool
) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    batch = [record("a", entry_id="1-1"), meddling.written, record("c", entry_id="4-1")]
    if meddling.before is not None:
        store.record([meddling.before])
        batch = [meddling.written]
    elif inserted:
        # For a text that no line to be copied can hold.
        batch[0] = record("a", entry_id="1-1", labels=Labels(reason="\n"))
    before = deployment.rows()
    make(deployment, meddling.made)
    if known:
        store.look()
    write = store.resolve if meddling.before is SUBMITTED else store.record

    for _ in range(2):
        with pytest.raises(Outage, match=(meddling.inserted if inserted else None) or meddling.told):
            write(batch)

    assert deployment.rows() == before
    make(deployment, "DROP FUNCTION meddles CASCADE")
    assert write(batch) == batch
    assert deployment.rows()["b"] == replace(meddling.written, replay_of=None)


def test_rule_that_swallows_trades_is_told_by_name(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.record([SUBMITTED])
    make(deployment, "CREATE RULE meddles AS ON INSERT TO trades DO INSTEAD NOTHING")

    with pytest.raises(Outage, match="0 of 1 rows of trades were stored: rule meddles on trades"):
        store.resolve([WRITTEN])

    assert deployment.rows() == {"b": SUBMITTED}


def test_order_id_is_not_changed_behind_our_back(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    make(deployment, trigger("orders", "NEW.order_id := upper(NEW.order_id); RETURN NEW;"))

    with pytest.raises(Outage, match="trigger meddles on orders"):
        store.record([replace(SUBMITTED, status=Status.REJECTED)])

    assert deployment.rows() == {}


def test_amount_is_not_rounded_by_a_type_that_somebody_has_given_its_column(deployment: Deployment) -> None:
    make(deployment, "ALTER TABLE orders ALTER COLUMN average_price TYPE numeric(20, 2)")
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.look()

    with pytest.raises(
        Outage, match=r"\(average_price\): type numeric\(20,2\) of column orders.average_price"
    ):
        store.record([record("a", average_price=Decimal("0.125"))])

    assert deployment.rows() == {}
    assert store.record([record("b", average_price=Decimal("0.25"))]) == [
        record("b", average_price=Decimal("0.25"))
    ]


def test_column_is_of_its_type_however_a_role_has_names_quoted(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    make(deployment, f'ALTER DATABASE "{deployment.database_name}" SET quote_all_identifiers = on')
    store.reconnect()

    with capture_logs() as logs:
        store.look()

    assert logs == []


def test_trigger_that_changes_nothing_costs_nothing_but_a_warning(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    make(deployment, trigger("orders", "PERFORM 1; RETURN NEW;"))
    rows = [[record(f"o{number}", entry_id=f"{number}-1")] for number in range(4)]

    with capture_logs() as logs:
        standing = [store.record(batch) for batch in rows]

    assert standing == rows
    assert [entry["by"] for entry in logs if entry["log_level"] == "warning"] == [
        ["trigger meddles on orders"]
    ]


def test_trigger_is_noticed_that_is_made_while_a_batch_waits_for_the_table(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    store.record([record("before", entry_id="7-1")])

    with psycopg.connect(deployment.database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute(MEDDLINGS["a symbol changed"].made.encode())
        written = pool.submit(store.record, [record("a")])
        eventually(lambda: _waits(deployment))
        other.commit()
        with pytest.raises(Outage, match="trigger meddles on orders"):
            written.result(timeout=20)

    assert deployment.rows().keys() == {"before"}


def test_switched_off_trigger_is_not_looked_at(deployment: Deployment) -> None:
    store = OrderStore(deployment.entered(), deployment.fleet)
    make(deployment, f"{MEDDLINGS['a symbol changed'].made}; ALTER TABLE orders DISABLE TRIGGER meddles")

    store.record([record("a")])

    assert deployment.rows() == {"a": record("a")}


def _waits(deployment: Deployment) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(deployment.database_url) as connection:
        return bool(connection.execute(waiting).fetchone() != (0,))
