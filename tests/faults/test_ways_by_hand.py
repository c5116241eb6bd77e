"""A server that has our keys no longer says so once, and the next command goes to the other."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer, current_thread

import pytest
import redis
from redis.crc import key_slot

from local import LocalRedis
from tests.gathering import PATIENCE_MS, Cluster, Watched, asked, gathered
from tests.harness import eventually
from worker.client import connect
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


class Interrupted(BaseException):
    """What a signal raises."""


@contextmanager
def interrupted(server: LocalRedis) -> Iterator[None]:
    """Have a reply come late, and whoever waits for it interrupted before it comes."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    here = current_thread().ident
    assert here is not None
    with asked(server) as client:
        client.execute_command("CLIENT", "PAUSE", 1000)
    timer = Timer(0.2, signal.pthread_kill, (here, signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("way", ["server", "Sentinel"])
def test_reply_to_a_call_that_was_interrupted_is_given_to_nobody(watched: Watched, way: str) -> None:
    """Proves that an order that Redis refuses is not told as added."""
    with connect(watched.way if way == "Sentinel" else watched.primary().url, stream=KEY) as client:
        client.set(KEY, "no stream")
        client.xadd("stream", {"a": "1"})

        with interrupted(watched.primary()):
            client.xadd("stream", {"a": "1"})

        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client.xadd(KEY, {"a": "1"})


def test_node_is_found_while_all_other_primaries_are_frozen(cluster: Cluster) -> None:
    """Proves that nobody but those who are named is asked, and of these whoever answers."""
    ours = cluster.primary(key_slot(KEY.encode()))
    others = [each for each in cluster.servers[:3] if each is not ours]
    for each in others:
        each.pause()
    try:
        link = RedisLink(cluster.way, block_ms=10, client_name="test", a_key=KEY)
        for _ in range(3):
            link.reconnect()
            assert link.call("SET", KEY, "1") == b"OK"
        link.close()
        with connect(cluster.way, stream=KEY) as client:
            assert client.get(KEY) == b"1"
    finally:
        for each in others:
            each.resume()
