"""A power cut ends Redis' log at any byte: what it kept is whole, what it lost comes again without harm."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from local import LocalRedis
from local.directory import free_port
from tests.faults.framing import values
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.faults.trials import SHORT_LEASES, looping, soon
from tests.harness import Deployment, assert_invariants, numbered_orders
from worker.domain.orders import OrderRecord

ORDERS = 48
AT_ONCE = 3
BYTES = 2048
RECORDS_IN = 16_384
BYTE_STEP = 37
SETTINGS = {**SHORT_LEASES, "batch_size": 2}

pytestmark = pytest.mark.timeout(1800)


@dataclass
class History:
    """What stood when the power went: the whole log, and what PostgreSQL had committed."""

    deployment: Deployment
    redis: LocalRedis
    kept: Path
    rows: Mapping[str, OrderRecord]

    @property
    def log(self) -> bytes:
        return appended_log(self.kept).read_bytes()

    def restore(self, size: int) -> None:
        """Bring Redis back up with so much of its log."""
        self.redis.kill()
        data = self.redis.directory / "data"
        shutil.rmtree(data)
        shutil.copytree(self.kept, data)
        with appended_log(data).open("r+b") as log:
            log.truncate(size)
        self.redis.start()


def appended_log(data: Path) -> Path:
    """The file that Redis appends to: from 7.0 on the newest increment of several files."""
    increments = sorted(data.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    return increments[-1] if increments else data / "appendonly.aof"


def environment(deployment: Deployment) -> dict[str, str]:
    return deployment.environment(health_port=free_port(), **SETTINGS)


@pytest.fixture
def history(own_deployment: Deployment, own_redis: LocalRedis, tmp_path: Path) -> History:
    """Orders of every class come while a replica works; then the power goes."""
    orders = numbered_orders(ORDERS)
    with looping(own_deployment, environment(own_deployment)) as (_, thread):
        thread.start()
        for first in range(0, ORDERS, AT_ONCE):
            batch = orders[first : first + AT_ONCE]
            own_deployment.submit([*batch, {"symbol": "ETHUSDT"}] if first % 4 == 0 else batch)
            if first % 6 == 0:
                own_deployment.submit([batch[0], {**batch[1], "quantity": "9"}])
                own_deployment.add_raw("payload", "{")
            soon(own_deployment.all_settled, within=20)
        own_redis.kill()
    rows = own_deployment.rows()
    kept = tmp_path / "kept"
    shutil.copytree(own_redis.directory / "data", kept)
    own_redis.start()
    return History(own_deployment, own_redis, kept, rows)


def cuts(log: bytes) -> list[int]:
    """Where to end the log: at the end of each record of its last part, and at bytes of its very last."""
    records, rest = values(log)
    assert rest == b""
    ends = [end for end in accumulate(map(len, records)) if end >= len(log) - RECORDS_IN]
    return sorted({*ends, *range(len(log) - BYTES, len(log), 1 if CHAOS else BYTE_STEP)})


def is_whole_again(history: History) -> bool:
    deployment = history.deployment
    return deployment.all_settled() and deployment.redis.xlen(deployment.results) == len(history.rows)


def test_mark_and_result_are_kept_or_lost_together(history: History) -> None:
    deployment = history.deployment
    outcomes = set()

    for size in cuts(history.log):
        history.restore(size)
        marks: Any = deployment.redis.zrangebyscore(deployment.marks, "-inf", "(+inf")
        settled = [result["entry_id"] for result in deployment.published()]
        settled += [letter.get("mark", letter["entry_id"]).decode() for letter in deployment.letters()]

        assert sorted(settled) == sorted(mark.decode() for mark in marks if mark != b"horizon"), (
            f"log cut after {size} bytes"
        )
        outcomes.add(len(settled))

    record("aof", "marks", faults=len(cuts(history.log)))
    assert len(outcomes) > AT_ONCE, "the cuts never took a settlement away"


def test_every_row_has_one_result_again_after_a_worker_has_run(history: History) -> None:
    deployment = history.deployment
    orders_lost = 0

    for size in cuts(history.log):
        history.restore(size)
        kept = {entry_id for entry_id, _ in deployment.entries(deployment.orders)}
        orders_lost += any(row.entry_id not in kept for row in history.rows.values())
        with looping(deployment, environment(deployment)) as (made, thread):
            thread.start()
            soon(lambda: is_whole_again(history), within=20)

        assert deployment.rows() == history.rows, f"log cut after {size} bytes"
        assert_invariants(deployment, made.worker.tally)
    record("aof", "rows", faults=len(cuts(history.log)))
    assert orders_lost > AT_ONCE, "the cuts never took an order away"
