"""Where the tests ask for least rights, what they run has them and no others."""

from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests.harness import Deployment, Servers, eventually, numbered_orders
from tests.inprocess import running
from tests.least import Roles, entered_with_least_rights
from worker.client import connect
from worker.domain.errors import AccessDenied

pytestmark = pytest.mark.past_the_pooler


@pytest.fixture
def least(deployment: Deployment, servers: Servers) -> Iterator[tuple[Deployment, Roles]]:
    """A deployment whose worker has least rights, whatever the others have."""
    with entered_with_least_rights(deployment, servers) as roles:
        yield deployment, roles


def test_replica_enters_both_servers_as_who_may_do_least(least: tuple[Deployment, Roles]) -> None:
    deployment, roles = least
    deployment.submit(numbered_orders(1))

    with running(deployment):
        eventually(deployment.all_settled)
        clients = deployment.redis.client_list()
        with psycopg.connect(deployment.database_url) as connection:
            sessions = connection.execute(
                "SELECT usename FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'orders-worker-%'"
            ).fetchall()

    ours = [each["user"] for each in clients if each["user"].startswith(deployment.name)]
    assert set(ours) == {f"{deployment.name}-orders-worker"}
    assert set(sessions) == {(roles.name("orders_worker"),)}


def test_replica_with_least_rights_may_not_do_what_it_has_no_need_of(least: tuple[Deployment, Roles]) -> None:
    deployment, _ = least

    with connect(deployment.redis_url(), stream=deployment.orders) as client:
        assert client.xlen(deployment.orders) == 0
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.xlen("of-others")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.flushdb()
    with pytest.raises(AccessDenied), deployment.entered().transaction() as connection:
        connection.exec_driver_sql("DELETE FROM orders")
