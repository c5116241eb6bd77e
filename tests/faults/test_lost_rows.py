"""A PostgreSQL standby that lagged is promoted: what it lacks is told, mended, and has no second result."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import LocalPostgres, LocalRedis
from tests.commands import command
from tests.faults.moving import MovingPostgres
from tests.harness import Deployment, Servers, eventually, numbered_orders
from tests.processes import WorkerProcess, workers

KEPT, LOST, LATER = 300, 1000, 50
UNHURRIED: dict[str, Any] = {"lease_ms": 60_000, "max_deliveries": 3, "batch_size": 100}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def moving(own_postgres: LocalPostgres, tmp_path: Path) -> Iterator[MovingPostgres]:
    """The server of the deployment's own tables, behind a name."""
    with MovingPostgres.made(own_postgres, tmp_path) as made:
        yield made


def lost_rows(replica: WorkerProcess) -> int | None:
    status, body = replica.get("/status")
    return json.loads(body)["redis"].get("lost_rows") if status == 200 else None


@pytest.mark.parametrize("kept", [KEPT, 0], ids=["the newest", "all of them"])
def test_rows_that_a_promoted_standby_lacks_are_told_and_mended_without_a_second_result(
    own_deployment: Deployment, own_redis: LocalRedis, moving: MovingPostgres, tmp_path: Path, kept: int
) -> None:
    """Proves it by status, page and metric, and that the sentence goes with the rows that come back."""
    orders = numbered_orders(kept + LOST + LATER)
    with Deployment(Servers(own_redis.url, moving.url), "own", "postgres", own_deployment.accepted) as here:
        with workers(here, tmp_path, 2, **UNHURRIED) as replicas:
            here.submit(orders[:kept])
            eventually(here.all_settled, within=60)
            standby = moving.fall_behind()
            here.submit(orders[kept : kept + LOST])
            eventually(here.all_settled, within=60)

            moving.fail_over_to(standby)
            here.submit(orders[kept + LOST :])
            eventually(lambda: all(lost_rows(each) == LOST for each in replicas), within=60)
            eventually(here.all_settled, within=60)
            told = command(here, "status", **UNHURRIED)
            metrics = replicas[0].get("/metrics")[1].decode()
            published = here.published()
            mended = command(here, "audit", "--repair", **UNHURRIED)
            assert f"{LOST} mended" in mended.output, mended.output
            eventually(lambda: all(lost_rows(each) == 0 for each in replicas), within=60)
            eventually(here.all_settled, within=60)
            well = command(here, "status", **UNHURRIED)
            assert [replica.drain() for replica in replicas] == [0, 0]

        lines = [line for each in replicas for line in each.events if "lost rows" in line["event"]]
        assert told.exit_code == 1
        assert told.output.splitlines()[0] == (
            "Needs you: PostgreSQL lost rows: results of 1,000 orders went out, and their rows are gone:"
            " worker audit --repair"
        )
        assert f"execution_stream_lost_rows {LOST}.0" in metrics
        assert sum(line["orders"] for line in lines) == LOST
        assert "lost rows" not in well.output
        assert here.published() == published
        assert len(here.rows()) == len(published) == len(orders)
        # It does not mind that rows are younger than their results now.
        assert command(here, "audit", **UNHURRIED).exit_code == 0
