"""PostgreSQL accepts and never answers: no setting of the server helps, the worker gives up by itself."""

import time
from pathlib import Path

import pytest

from local import LocalPostgres
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import workers
from worker.domain.errors import Outage
from worker.store import Database, OrderStore


@pytest.fixture
def impatient(own_postgres: LocalPostgres) -> Database:
    return Database(own_postgres.url, transaction_timeout_s=1, pool_size=1, application_name="test")


def test_transaction_ends_as_an_outage_when_the_server_goes_silent(
    impatient: Database, own_postgres: LocalPostgres
) -> None:
    impatient.ping()
    own_postgres.pause()
    began = time.monotonic()

    with pytest.raises(Outage, match=r"not done within 1 s \(WORKER_TRANSACTION_TIMEOUT_S\)"):
        impatient.ping()

    assert time.monotonic() - began < 10
    own_postgres.resume()
    impatient.ping()
    impatient.close()


def test_row_that_was_committed_in_silence_is_found_afterwards(
    own_deployment: Deployment, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    orders = numbered_orders(3000)
    own_deployment.submit(orders[:2000])

    with workers(own_deployment, tmp_path, 2, batch_size=20) as replicas:
        eventually(lambda: own_deployment.redis.xlen(own_deployment.results) > 200)
        own_postgres.pause()
        own_deployment.submit(orders[2000:])
        eventually(lambda: all('"event": "outage"' in replica.said for replica in replicas))
        own_postgres.resume()
        eventually(own_deployment.all_settled, within=60)
        assert [replica.drain() for replica in replicas] == [0, 0]

    assert (
        len(OrderStore(own_deployment.database, own_deployment.fleet).find(own_deployment.accepted)) == 3000
    )
    assert own_deployment.letters() == []
    assert_invariants(own_deployment, *(replica.tally for replica in replicas))
