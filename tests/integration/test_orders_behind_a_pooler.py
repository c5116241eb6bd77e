"""Orders behind a pooler, whose sessions others have used before: what is set in them means nothing."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests import pooler
from tests.contract.test_sessions_on_postgresql import SETTINGS, set_otherwise
from tests.faults.moving import through
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.saturated import saturable
from worker.store.ground import VERSION_TABLE
from worker.store.tables import metadata

ORDERS = 40


def test_rows_come_back_as_they_were_written_in_a_session_that_says_otherwise(
    deployment: Deployment, tmp_path: Path
) -> None:
    set_otherwise(deployment, *SETTINGS)
    orders = numbered_orders(ORDERS)
    orders[17]["reason"] = r"c:\new 突破"
    # The one session that there is.
    with pooler.pooled(deployment, tmp_path, default_pool_size=1) as behind:
        with psycopg.connect(behind.database_url, autocommit=True) as other:
            other.execute("SET bytea_output = escape; SET intervalstyle = sql_standard")
        behind.submit(orders + orders)

        with running(behind, lease_ms=60_000) as made:
            eventually(behind.all_settled)

        assert behind.rows()["order-17"].labels.reason == orders[17]["reason"]
        eventually(lambda: made.worker.tally.duplicate == ORDERS)
        assert made.worker.tally.outages == 0
        assert_invariants(behind, made.worker.tally)


def test_order_that_comes_again_is_known_when_another_has_left_the_session_in_another_schema(
    deployment: Deployment, tmp_path: Path
) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA staging")
        for name in (*metadata.tables, VERSION_TABLE):
            connection.execute(f"CREATE TABLE staging.{name} (LIKE public.{name} INCLUDING ALL)".encode())
    orders = numbered_orders(ORDERS)
    # The one session that there is.
    with pooler.pooled(deployment, tmp_path, default_pool_size=1) as behind, running(behind) as made:
        behind.submit(orders)
        eventually(behind.all_settled)
        with psycopg.connect(behind.database_url, autocommit=True) as other:
            other.execute("SET search_path = staging")
        behind.submit(orders)
        eventually(behind.all_settled)

        eventually(lambda: made.worker.tally.duplicate == ORDERS)
        assert made.worker.tally.outages == 0
        assert_invariants(deployment, made.worker.tally)


@pytest.mark.parametrize("orders", [1, 3])
def test_pooler_without_a_session_to_lend_is_waited_for_and_buries_nothing(
    deployment: Deployment, orders: int
) -> None:
    servers = deployment.servers
    with saturable(deployment.database_url) as full:
        url = through(servers.database_url, full.port)
        with deployment.elsewhere(replace(servers, database_url=url, database_way="")) as behind:
            behind.accepted = deployment.accepted
            with running(behind, max_deliveries=3) as made:
                full.full.set()
                behind.submit(numbered_orders(orders))
                eventually(lambda: made.worker.outage is not None)
                refused = full.refused
                eventually(lambda: full.refused > refused + 4)
                full.full.clear()
                eventually(behind.all_settled)

            assert made.worker.tally.unexpected == 0
            assert behind.letters() == []
            assert_invariants(behind, made.worker.tally)
