"""A server that has our keys no longer says so once, and the next command goes to the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from tests.gathering import PATIENCE_MS, Cluster, Watched, asked, gathered
from tests.harness import eventually
from worker.domain.endpoints import Endpoint
from worker.stream.link.connection import RedisLink

KEY = "{a}orders"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with gathered(Cluster, tmp_path / "cluster", PATIENCE_MS) as made:
        assert isinstance(made, Cluster)
        yield made


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with gathered(Watched, tmp_path / "watched", PATIENCE_MS) as made:
        assert isinstance(made, Watched)
        yield made


def test_node_whose_slot_has_moved_is_left_at_once(cluster: Cluster) -> None:
    slot = key_slot(KEY.encode())
    link = RedisLink(cluster.way, block_ms=10, client_name="test", a_key=KEY)
    link.call("SET", KEY, "1")
    cluster.move(slot, next(each for each in cluster.servers[:3] if each is not cluster.primary(slot)))

    with pytest.raises(redis.exceptions.MovedError):
        link.call("SET", KEY, "2")

    assert link.call("GET", KEY) == b"1"
    link.close()


def test_primary_that_sentinel_has_demoted_is_left_at_once_by_all(watched: Watched) -> None:
    place = Endpoint.fixed(watched.way)
    link, pages = (RedisLink(place, block_ms=10, client_name="test", a_key=KEY) for _ in range(2))
    link.call("SET", KEY, "1")
    assert pages.call("GET", KEY) == b"1"
    before = watched.primary()
    watched.fail_over()
    # Sentinel tells it only after a while: told by hand, it keeps its connections.
    with asked(before) as client:
        client.replicaof("127.0.0.1", "1")

    with pytest.raises(redis.ConnectionError, match="now a slave"):
        link.call("SET", KEY, "2")

    assert link.call("SET", KEY, "3") == b"OK"
    # Whoever only reads there would never be told.
    assert pages.call("GET", KEY) == b"3"
    link.close()
    pages.close()


def test_no_connection_to_a_sentinel_is_kept(watched: Watched) -> None:
    """Proves that an outage, each try of which leaves the place, costs no Sentinel a connection."""
    place = Endpoint.fixed(watched.way)
    link = RedisLink(place, block_ms=10, client_name="asks-sentinel", a_key=KEY)
    for _ in range(3):
        place.leave()
        link.call("PING")

    eventually(lambda: watched.names_of_clients().count("asks-sentinel") == 0, within=2)
    link.close()
