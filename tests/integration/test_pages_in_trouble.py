"""What pages say while the loop hangs or drains, and of a server that is away: nothing that is not so now."""

import json
from typing import Any

from local import LocalPostgres, LocalRedis
from tests.harness import Deployment, eventually
from tests.inprocess import committing, running
from tests.unit.test_server import ask


def status_of(port: int) -> Any:
    return json.loads(ask(port, "/status")[2])


def test_health_says_that_the_loop_hangs_once_a_lease_and_a_read_have_passed(deployment: Deployment) -> None:
    deployment.submit([{"symbol": "A", "side": "BUY", "quantity": "1"}])

    with committing(deployment) as (made, pause):
        port = made.server.port
        eventually(lambda: ask(port, "/health")[0] == 503, within=5)
        hanging = json.loads(ask(port, "/health")[2])
        pause.go_on.set()
        eventually(lambda: ask(port, "/health")[0] == 200)

    assert hanging["status"] == "stuck"
    # The lease of 1000 ms and the 50 ms of a read.
    assert hanging["sign_of_life_age_s"] > 1.05


def test_ready_says_that_it_drains(deployment: Deployment) -> None:
    deployment.submit([{"symbol": "A", "side": "BUY", "quantity": "1"}])

    with committing(deployment) as (made, pause):
        port = made.server.port
        eventually(lambda: ask(port, "/ready")[0] == 200)
        made.drain.request()
        status, _, body = ask(port, "/ready")
        metrics = ask(port, "/metrics")[0]
        pause.go_on.set()

    assert (status, json.loads(body)["reasons"], metrics) == (503, ["draining"], 200)


def test_pages_keep_no_figure_of_a_server_that_is_away(
    own_deployment: Deployment, own_redis: LocalRedis, own_postgres: LocalPostgres
) -> None:
    own_deployment.submit([{"symbol": "A", "side": "BUY", "quantity": "1"}])
    with running(own_deployment) as made:
        port = made.server.port
        eventually(lambda: b"execution_stream_results 1.0" in ask(port, "/metrics")[2])
        eventually(lambda: status_of(port)["database"].get("orders") == 1)

        own_redis.stop()
        eventually(lambda: b'execution_connected{server="redis"} 0.0' in ask(port, "/metrics")[2])
        metrics = ask(port, "/metrics")[2]
        without_redis = status_of(port)
        own_postgres.stop()
        eventually(lambda: not status_of(port)["database"]["connected"])
        without_both = status_of(port)
        ready = ask(port, "/ready")[0]

        own_redis.start()
        own_postgres.start()
        eventually(lambda: ask(port, "/ready")[0] == 200)
        again = status_of(port)

    assert b"execution_stream_" not in metrics
    assert without_redis["redis"].keys() == {"connected", "error"}
    assert without_redis["database"]["orders"] == 1
    assert without_both["database"].keys() == {"connected", "error"}
    assert ready == 503
    assert again["database"]["orders"] == again["redis"]["results"] == 1
