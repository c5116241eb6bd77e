"""What keeps rows from a replica without an error is told, at its start or later: they are no duplicates."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from msgspec.structs import replace

from tests.builders import dead_record, record
from tests.harness import Deployment, Servers
from tests.least import entered_with_least_rights
from worker.domain.errors import AccessDenied
from worker.domain.orders import OrderRecord, Status
from worker.store import OrderStore, rehearse

FILLED = record("b", entry_id="2-1")
SUBMITTED = replace(
    FILLED, status=Status.SUBMITTED, filled_quantity=Decimal(0), average_price=None, trades=()
)
DEAD = dead_record("b", entry_id="2-1")
REPLAY = replace(record("b", entry_id="3-1"), replay_of="2-1")
APPEND_ONLY = (
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY r ON orders FOR SELECT USING (true);"
    "CREATE POLICY a ON orders FOR INSERT WITH CHECK (true)"
)
KEEPING = {
    "orders that only grow": APPEND_ONLY,
    "trades that nobody sees": (
        "ALTER TABLE trades ENABLE ROW LEVEL SECURITY; CREATE POLICY a ON trades FOR INSERT WITH CHECK (true)"
    ),
    "updates ruled out": "CREATE RULE stays AS ON UPDATE TO orders DO INSTEAD NOTHING",
    "updates swallowed": (
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER swallow BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION swallow()"
    ),
}
LETTING = {
    "deletes ruled out": "CREATE RULE stays AS ON DELETE TO orders DO INSTEAD NOTHING",
    "all of orders": "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY w ON orders USING (true)",
    "all of trades": "ALTER TABLE trades ENABLE ROW LEVEL SECURITY; CREATE POLICY w ON trades USING (true)",
    "notes of updates": (
        "CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER notes BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION notes()"
    ),
}


# A pooler lets in owners.
pytestmark = pytest.mark.past_the_pooler


@pytest.fixture
def least(deployment: Deployment, servers: Servers) -> Iterator[Deployment]:
    """A deployment whose worker owns no table, so that policies are for it."""
    with entered_with_least_rights(deployment, servers):
        yield deployment


def make(deployment: Deployment, statements: str) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.mark.parametrize("keeping", KEEPING.values(), ids=KEEPING)
def test_start_is_refused_where_rows_are_kept_from_the_replica(least: Deployment, keeping: str) -> None:
    make(least, keeping)

    with pytest.raises(AccessDenied, match=r"probe-|cannot perform UPDATE"):
        rehearse(least.entered(), least.fleet, "probe", prunes=False)

    assert least.rows() == {}


@pytest.mark.parametrize("letting", LETTING.values(), ids=LETTING)
def test_start_goes_on_where_nothing_is_kept_from_the_replica(least: Deployment, letting: str) -> None:
    make(least, letting)

    rehearse(least.entered(), least.fleet, "probe", prunes=False)

    assert least.rows() == {}


@pytest.mark.parametrize(
    ("before", "written"), [(DEAD, REPLAY), (SUBMITTED, FILLED)], ids=["a replay", "an outcome"]
)
def test_row_that_could_not_be_updated_is_no_duplicate(
    least: Deployment, before: OrderRecord, written: OrderRecord
) -> None:
    store = OrderStore(least.entered(), least.fleet)
    store.record([before])
    make(least, APPEND_ONLY)
    write = store.record if written is REPLAY else store.resolve

    with pytest.raises(AccessDenied, match="order b was not updated: row-level security of orders"):
        write([written])

    assert least.rows() == {"b": before}
    make(least, "ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
    assert write([written]) == [written]


def test_order_that_could_not_be_taken_up_is_in_no_other_hands(least: Deployment) -> None:
    store = OrderStore(least.entered(), least.fleet)
    store.record([SUBMITTED])
    make(least, APPEND_ONLY)

    with pytest.raises(AccessDenied, match="order b was not updated: row-level security of orders"):
        store.take_up(SUBMITTED.entry_id, after_s=0)


def test_order_that_comes_again_late_is_not_acked_where_that_can_not_be_noted(least: Deployment) -> None:
    store = OrderStore(least.entered(), least.fleet)
    store.record([record("b", entry_id="1-1")])
    late = f"{4_102_444_800_000}-0"
    make(least, APPEND_ONLY)

    with pytest.raises(AccessDenied, match="order b was not updated: row-level security of orders"):
        store.record([record("b", entry_id=late)])


def test_row_that_is_hidden_is_no_duplicate(least: Deployment) -> None:
    store = OrderStore(least.entered(), least.fleet)
    store.record([FILLED])
    make(
        least,
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY w ON orders USING (order_id <> 'b')"
        " WITH CHECK (true)",
    )

    with pytest.raises(AccessDenied):
        store.record([record("b", entry_id="5-1")])
