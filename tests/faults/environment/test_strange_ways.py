"""Sentinels and clusters that are not what a URL says: refused in one line, or waited for and named."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from local import LocalRedis
from local.directory import free_port, make_directory, write_secret
from local.errors import LocalServerFailed
from local.redis import find_redis
from tests.encryption import Authority
from tests.entrances import with_tls
from tests.gathering import (
    LOOPBACK,
    PATIENCE_MS,
    SENTINEL_PASSWORD,
    SERVICE,
    SLOTS,
    Cluster,
    Gathering,
    Watched,
    asked,
    gathered,
    made_in,
    port_of_a_cluster,
)
from tests.harness import eventually
from tests.skips import Reason, skip
from worker.domain.errors import AccessDenied, ConfigurationError, Outage
from worker.stream.demands import require_keeping, require_redis
from worker.stream.link.connection import RedisLink

KEY = "{a}orders"


def error_of(url: str) -> Exception:
    """Return what a start says of a URL; every error of ours shows no secret."""
    link = RedisLink(url, block_ms=10, client_name="test", a_key=KEY)
    with pytest.raises((ConfigurationError, Outage)) as raised:
        require_redis(link)
    link.close()
    assert SENTINEL_PASSWORD not in str(raised.value)
    return raised.value


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with gathered(Watched, tmp_path_factory.mktemp("watched"), PATIENCE_MS) as made:
        assert isinstance(made, Watched)
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gathering]:
    with gathered(Cluster, tmp_path_factory.mktemp("cluster"), PATIENCE_MS) as made:
        yield made


def test_service_that_no_sentinel_knows_is_waited_for_and_named(watched: Watched) -> None:
    error = error_of(watched.way.replace(f"/{SERVICE}", "/another"))

    assert isinstance(error, Outage)
    assert "no Sentinel knows a service 'another'; known are: " in str(error)


def test_password_that_sentinels_refuse_is_told_as_that(watched: Watched) -> None:
    error = error_of(watched.way.replace(SENTINEL_PASSWORD, "wrong"))

    assert isinstance(error, AccessDenied)
    assert "the Sentinel refuses: " in str(error)


def test_sentinel_that_is_away_costs_nothing_while_another_answers(watched: Watched) -> None:
    way = watched.way.replace(f"@{LOOPBACK}:{watched.ports[0]}", f"@{LOOPBACK}:{free_port()}")
    link = RedisLink(way, block_ms=10, client_name="test", a_key=KEY)

    require_redis(link)

    link.close()


def test_sentinels_that_are_all_away_are_waited_for() -> None:
    error = error_of(f"redis+sentinel://{LOOPBACK}:1,{LOOPBACK}:2/{SERVICE}")

    assert isinstance(error, Outage)
    assert "Connection refused" in str(error)


def test_server_in_the_place_of_sentinels_is_refused(watched: Watched) -> None:
    error = error_of(
        f"redis+sentinel://{LOOPBACK}:{watched.primary().port}/{SERVICE}?sentinel_password={watched.password}"
    )

    assert isinstance(error, ConfigurationError)
    assert str(error).startswith("REDIS_URL: leads to a Redis that is no Sentinel; ")


def test_server_in_the_place_of_a_cluster_is_refused(watched: Watched) -> None:
    error = error_of(f"redis+cluster://:{watched.password}@{LOOPBACK}:{watched.primary().port}")

    assert isinstance(error, ConfigurationError)
    assert str(error) == "REDIS_URL: leads to a Redis that is no cluster; write redis://"


def test_password_that_a_cluster_refuses_is_told_as_that(cluster: Gathering) -> None:
    error = error_of(f"redis+cluster://:wrong@{LOOPBACK}:{cluster.servers[0].port}")

    assert isinstance(error, AccessDenied)


def test_cluster_is_found_by_any_of_its_nodes(cluster: Gathering) -> None:
    assert isinstance(cluster, Cluster)
    way = f"redis+cluster://:{cluster.password}@{LOOPBACK}:1,{LOOPBACK}:{cluster.servers[5].port}"
    link = RedisLink(way, block_ms=10, client_name="test", a_key=KEY)

    link.call("SET", KEY, "1")

    with asked(cluster.primary(_slot())) as owner:
        assert owner.get(KEY) == "1"
    link.close()


def test_node_that_has_our_keys_is_refused_as_a_server_of_its_own(cluster: Gathering) -> None:
    """Proves it before the slot moves, or the node dies: until then a replica would work."""
    assert isinstance(cluster, Cluster)
    link = RedisLink(
        f"redis://:{cluster.password}@{LOOPBACK}:{cluster.primary(_slot()).port}",
        block_ms=10, client_name="test", a_key=KEY,
    )  # fmt: skip

    with pytest.raises(ConfigurationError, match=r"leads to a Redis Cluster, .* write redis\+cluster://"):
        require_keeping(link, allow_eviction=False)
    link.close()


def test_way_tells_where_the_server_is_and_who_says_so(watched: Watched, cluster: Gathering) -> None:
    assert isinstance(cluster, Cluster)
    primary, node = watched.primary().port, cluster.primary(_slot()).port
    for way, told in (
        (watched.way, f"{LOOPBACK}:{primary} (as Sentinel says of {SERVICE})"),
        (cluster.way, f"{LOOPBACK}:{node} (a node of a cluster)"),
    ):
        link = RedisLink(way, block_ms=10, client_name="test", a_key=KEY)

        assert link.whereabouts() == told
        link.close()


def _slot() -> int:
    return int(redis.crc.key_slot(KEY.encode()))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.new(tmp_path, "authority")


def started_with_tls(folder: Path, port: int, **settings: str) -> LocalRedis:
    try:
        return made_in(folder, "pw", port, **settings)
    except LocalServerFailed:
        skip(Reason.NO_TLS)


def assert_trusted_alone(way: str, authority: Authority) -> None:
    """Assert that a way works with this authority, and is refused without it."""
    link = RedisLink(f"{way}?ssl_ca_certs={authority.file}", block_ms=10, client_name="test", a_key=KEY)
    eventually(lambda: _works(link))
    link.close()
    error = error_of(way)
    assert isinstance(error, ConfigurationError)
    assert "certificate is not trusted" in str(error)


def _works(link: RedisLink) -> bool:
    try:
        return bool(link.call("SET", KEY, "1") == b"OK")
    except redis.RedisError:
        return False


def test_cluster_is_spoken_to_by_tls(tmp_path: Path, authority: Authority) -> None:
    port = port_of_a_cluster()
    own = {"cluster-enabled": "yes", "databases": "1", "tls-cluster": "yes", **with_tls(authority, port)}
    node = started_with_tls(tmp_path / "node", port_of_a_cluster(), **own)
    try:
        with asked(node) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
        assert_trusted_alone(f"rediss+cluster://:pw@{LOOPBACK}:{port}", authority)
    finally:
        node.stop()


def test_sentinels_and_their_servers_are_spoken_to_by_tls(tmp_path: Path, authority: Authority) -> None:
    port = free_port()
    primary = started_with_tls(tmp_path / "primary", free_port(), **with_tls(authority, port))
    folder = tmp_path / "sentinel"
    make_directory(folder)
    own = with_tls(authority, free_port())
    said = "".join(f"{name} {value}\n" for name, value in own.items())
    write_secret(
        folder / "sentinel.conf",
        f"port 0\nbind {LOOPBACK}\n{said}sentinel monitor {SERVICE} {LOOPBACK} {port} 1\n"
        f"sentinel auth-pass {SERVICE} pw\n",
    )
    program, _ = find_redis()
    sentinel = subprocess.Popen(
        [program, "sentinel.conf", "--sentinel"], cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        assert_trusted_alone(f"rediss+sentinel://:pw@{LOOPBACK}:{own['tls-port']}/{SERVICE}", authority)
    finally:
        sentinel.kill()
        sentinel.wait()
        primary.stop()
