"""What only the real command shows: where it listens, what it logs, when it leaves."""

import re
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.directory import free_port
from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import COMMAND, WorkerProcess, workers

# Long enough that only the deadline ends it.
FOR_EVER = {"paper_latency_ms": 59_000, "lease_ms": 58_000}


def answers(host: str, port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.effect_of(health_host="127.0.0.9", health_port=..., log_level="WARNING", log_format="console")
def test_command_listens_where_it_is_told_and_logs_what_it_is_told(
    deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    replica = WorkerProcess(deployment, tmp_path / "log", COMMAND, **tried)
    try:
        eventually(lambda: answers("127.0.0.9", replica.port, "/ready"))
        deployment.add_raw("payload", "{")
        eventually(deployment.all_settled)
        assert not answers("127.0.0.1", replica.port, "/health")
        assert replica.drain() == 0
    finally:
        replica.end()

    lines = replica.said.splitlines()
    assert all(re.match(r"\S+ \[(warning|error) ", line) for line in lines)
    assert [
        any(f"[warning  ] {what}" in line for line in lines) for what in ("group made", "dead letter")
    ] == [True, True]


@pytest.mark.past_the_pooler
@pytest.mark.effect_of(start_timeout_s=0.71)
def test_command_waits_for_a_server_that_is_away_as_long_as_is_set(
    deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    nowhere = replace(deployment.servers, database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    replica = WorkerProcess(
        replace(deployment, servers=nowhere, accounts=None), tmp_path / "log", COMMAND, **tried
    )
    try:
        assert replica.wait() == 3
    finally:
        replica.end()

    waited = [event for event in replica.events if event["event"] == "waiting for a server"]
    assert {event["leaving_after_s"] for event in waited} == {0.71}
    assert len(waited) > 1


@pytest.mark.effect_of(allow_eviction=True)
def test_command_starts_on_a_redis_that_may_evict_orders_where_that_is_allowed(
    own_deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    own_deployment.redis.config_set("maxmemory-policy", "allkeys-lfu")
    own_deployment.redis.config_set("maxmemory", 1_000_000_000)

    with workers(own_deployment, tmp_path, 1, **tried) as (replica,):
        assert replica.drain() == 0


@pytest.mark.effect_of(execute_timeout_s=0.51)
def test_command_leaves_when_an_execution_takes_longer_than_is_set(
    deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    with workers(deployment, tmp_path, 1, drain_timeout_s=57, **FOR_EVER, **tried) as (replica,):
        deployment.submit(numbered_orders(1))
        assert replica.wait(within=10) == 70

    assert "has been executing for more than 0.51 s" in replica.said


@pytest.mark.effect_of(drain_timeout_s=0.61)
def test_command_leaves_when_its_drain_takes_longer_than_is_set(
    deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(1))

    with workers(deployment, tmp_path, 1, execute_timeout_s=57, batch_size=18, **FOR_EVER, **tried) as (
        replica,
    ):
        eventually(lambda: deployment.pending() == 1)
        assert replica.drain() == 70

    (started,) = (event for event in replica.events if event["event"] == "worker started")
    told = {name: started[name] for name in ("stream", "group", "executor", "batch_size", "health")}
    assert told == {
        "stream": deployment.orders,
        "group": deployment.group,
        "executor": "paper",
        "batch_size": 18,
        "health": f"http://127.0.0.1:{replica.port}",
    }

    assert "draining has taken more than 0.61 s" in replica.said
