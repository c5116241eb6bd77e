"""What a live replica tells Prometheus: each metric of the table, of real servers and real orders."""

import time
import urllib.request

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import Deployment, eventually, names_of, numbered_orders
from tests.inprocess import running
from worker.bootstrap.replica import Replica
from worker.ops.metrics import SECTIONS
from worker.stream import RedisLink, StreamInspector

# Before Redis 7.0 nobody knows.
NOT_EVERYWHERE = {"execution_stream_lag", "execution_stream_lost_unread"}


def families(replica: Replica) -> list[Metric]:
    """What a replica tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.server.port}/metrics", timeout=5) as page:
        return list(text_string_to_metric_families(page.read().decode()))


def scraped(replica: Replica) -> dict[tuple[str, ...], float]:
    """The samples of a replica, by name and the values of their labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families(replica)
        for sample in family.samples
    }


def test_live_replica_tells_all_metrics_of_the_table(deployment: Deployment) -> None:
    deployment.submit([*numbered_orders(20), {"symbol": "BTCUSDT", "side": "HOLD", "quantity": "1"}])
    deployment.add_raw("payload", "{")

    with running(deployment, allow_volatile=True) as replica:
        eventually(deployment.all_settled)
        # Retention comes after the first batches, and the figures of the servers once a second.
        eventually(lambda: scraped(replica).get(("execution_stream_results",)) == 21)
        eventually(lambda: ("execution_retention_age_seconds",) in scraped(replica))
        found = scraped(replica)

    names = {name for name, *_ in found}
    expected = {
        f"{each.name}_count" if each.kind == "histogram" else each.name
        for those in SECTIONS.values()
        for each in those
    }
    assert expected - names - NOT_EVERYWHERE == set()
    assert found["execution_entry_to_result_seconds_count",] == 21
    assert 0 < found["execution_entry_to_result_seconds_sum",] < 21 * 60
    assert found["execution_execute_seconds_count",] == 20
    assert found["execution_deliveries_total", "rejected", ""] >= 1
    assert found["execution_deliveries_total", "dead", "undecodable"] == 1
    assert found["execution_commit_seconds_count",] >= 1
    assert (found["execution_connected", "redis"], found["execution_connected", "database"]) == (1, 1)
    assert found["execution_stream_oldest_waiting_age_seconds",] == 0
    assert found["execution_schema_usable",] == 1


def test_oldest_entry_that_nobody_has_taken_is_told_with_its_age(deployment: Deployment) -> None:
    names = names_of(deployment, "any")
    now_ms = round(time.time() * 1000)
    deployment.submit(numbered_orders(3), under=[f"{now_ms - hours * 3_600_000}-0" for hours in (3, 2, 1)])
    link = RedisLink(deployment.servers.redis_url, block_ms=1, client_name="test", a_key=deployment.orders)
    inspector = StreamInspector(link, names)
    without_a_group = inspector.state().oldest_waiting_age_s
    deployment.redis.xgroup_create(deployment.orders, deployment.group, "0")

    ages = []
    for _ in range(4):
        ages.append(inspector.state().oldest_waiting_age_s)
        deployment.redis.xreadgroup(deployment.group, "one", {deployment.orders: ">"}, count=1)
    link.close()

    assert [age and age // 3600 for age in (without_a_group, *ages)] == [3, 3, 2, 1, None]
