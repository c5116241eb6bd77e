"""What watches from outside, as the user that deploy/ gives it: what it sees, and what it is refused."""

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import redis
from redis.crc import key_slot

from local import LocalRedis
from local.directory import free_port
from tests.gathering import PATIENCE_MS, Cluster, asked, gathered
from tests.harness import eventually
from tests.least import renamed
from tests.rights import PAGE, rules
from tests.skips import Reason, skip

USER, PASSWORD = "orders-monitor", "throw-away"
STREAMS = ("orders", "order_results", "orders:dead")
IN_A_CLUSTER = ("{orders}", "{orders}:results", "{orders}:dead")
# What KEDA's scalers and redis_exporter ask of a node besides.
OF_A_CLUSTER = ("+cluster|slots", "+cluster|info", "+command")
OPTIONS = re.search(r"`(--check-single-streams=[^`]*)`", PAGE.read_text(encoding="utf-8"))
# What redis_exporter asks at each scrape and may do without.
POLITE = {"slowlog", "latency"}


def admit(server: LocalRedis, given: Sequence[str]) -> None:
    """Let the monitor do so much, and forget what was refused."""
    with asked(server) as client:
        client.execute_command("ACL", "SETUSER", USER, *given, "on", f">{PASSWORD}")
        client.acl_log_reset()


def refused(server: LocalRedis) -> set[str]:
    """Return the commands that the monitor was refused."""
    with asked(server) as client:
        return {each["object"].partition("|")[0] for each in client.acl_log() if each["username"] == USER}


def fill(server: LocalRedis, streams: Sequence[str]) -> None:
    """Put an entry into each stream, which a consumer of a group holds."""
    with asked(server) as client:
        for stream in streams:
            client.xadd(stream, {"symbol": "X"})
            client.xgroup_create(stream, "execution", "0")
            client.xreadgroup("execution", "one", {stream: ">"})


@contextmanager
def exported(server: LocalRedis, streams: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines that redis_exporter shows, started with the options of the page."""
    program = shutil.which("prometheus-redis-exporter") or shutil.which("redis_exporter")
    if program is None:
        skip(Reason.NO_EXPORTER)
    assert OPTIONS is not None
    options = OPTIONS[1].replace(",".join(STREAMS), ",".join(streams)).split()
    place = f"127.0.0.1:{free_port()}"
    running = subprocess.Popen(
        [program, f"--redis.addr=redis://127.0.0.1:{server.port}", f"--redis.user={USER}",
         f"--redis.password={PASSWORD}", f"--web.listen-address={place}", *options],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    shown: list[str] = []

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{place}/metrics", timeout=10) as page:
                shown[:] = page.read().decode().splitlines()
        except urllib.error.URLError:
            return False
        return True

    try:
        eventually(answers)
        yield shown
    finally:
        running.kill()
        running.wait()


def assert_shows(lines: Sequence[str], streams: Sequence[str]) -> None:
    """Assert that the length, the groups and the consumers of each stream are there."""
    assert {"redis_up 1", 'redis_exporter_last_scrape_error{err=""} 0'} <= set(lines)
    for stream in streams:
        of_stream = [each for each in lines if f'stream="{stream}"' in each]
        assert f'redis_stream_length{{db="db0",stream="{stream}"}} 1' in of_stream
        assert any(each.startswith("redis_stream_group_messages_pending{") for each in of_stream)
        assert any(each.startswith("redis_stream_group_consumer_idle_seconds{") for each in of_stream)


def test_redis_exporter_shows_every_stream_and_is_refused_what_the_page_says(own_redis: LocalRedis) -> None:
    fill(own_redis, STREAMS)
    admit(own_redis, rules(USER))

    with exported(own_redis, STREAMS) as lines:
        assert_shows(lines, STREAMS)

    assert refused(own_redis) == POLITE


@pytest.fixture(scope="module")
def of_a_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """The node of a cluster that has the streams; each node knows the monitor."""
    names = dict(zip(("orders_stream", "results_stream", "dead_letter_stream"), IN_A_CLUSTER, strict=True))
    given = [each for rule in rules(USER) for each in renamed(rule, names)]
    with gathered(Cluster, tmp_path_factory.mktemp("cluster"), PATIENCE_MS) as cluster:
        assert isinstance(cluster, Cluster)
        for each in cluster.servers:
            admit(each, [*given, *OF_A_CLUSTER])
        primary = cluster.primary(key_slot(IN_A_CLUSTER[0].encode()))
        fill(primary, IN_A_CLUSTER)
        yield primary


@pytest.fixture
def node(of_a_cluster: LocalRedis) -> LocalRedis:
    """The same, and what was refused there before is forgotten."""
    admit(of_a_cluster, ())
    return of_a_cluster


def test_redis_exporter_shows_the_streams_at_the_node_of_a_cluster_that_has_them(node: LocalRedis) -> None:
    with exported(node, IN_A_CLUSTER) as lines:
        assert_shows(lines, IN_A_CLUSTER)
        assert "redis_cluster_slots_assigned 16384" in lines

    assert refused(node) == POLITE


def test_monitor_may_ask_a_cluster_what_the_scaler_of_keda_asks(node: LocalRedis) -> None:
    """By its source: it finds the node by CLUSTER SLOTS and COMMAND, and asks there as elsewhere."""
    orders = IN_A_CLUSTER[0]
    with redis.Redis(port=node.port, username=USER, password=PASSWORD) as client:
        for question in (
            ("PING",),
            ("CLUSTER", "SLOTS"),
            ("COMMAND",),
            ("INFO",),
            ("XPENDING", orders, "execution"),
            ("XINFO", "GROUPS", orders),
            ("XLEN", orders),
        ):
            client.execute_command(*question)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("XADD", orders, "*", "symbol", "X")

    # The client of this test says its own name, too.
    assert refused(node) - {"client"} == {"xadd"}
