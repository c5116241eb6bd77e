"""What a URL of Redis names: one server, Sentinels and their service, or nodes of a cluster."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from redis.connection import SSLConnection, parse_url
from redis.crc import key_slot

from tests.encryption import Authority
from tests.unit.test_settings import accepted, faults
from worker.client import connect
from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError
from worker.stream.link.connection import RedisLink
from worker.stream.link.options import options_of
from worker.ways.pools import pool_of
from worker.ways.sentinels import PrimarySSLConnection
from worker.ways.urls import Kind, hash_tag, way_of

HIDDEN = "hidden"
TO_ALL = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry", "redis_connect_func")
STREAMS = ("WORKER_ORDERS_STREAM", "WORKER_RESULTS_STREAM", "WORKER_DEAD_LETTER_STREAM")


@pytest.mark.parametrize(
    ("url", "kind", "plain", "hosts", "service"),
    [
        ("redis://u:p@h:1/2?ssl=x", Kind.SERVER, "redis://u:p@h:1/2?ssl=x", (), ""),
        ("unix:///run/redis.sock", Kind.SERVER, "unix:///run/redis.sock", (), ""),
        (
            "redis+sentinel://u:p%40@a,b:1/main/3?ssl_ciphers=x%20y&sentinel_password=q",
            Kind.SENTINEL,
            "redis://u:p%40@a:26379/3?ssl_ciphers=x+y",
            (("a", 26_379), ("b", 1)),
            "main",
        ),
        ("redis+sentinel://a:1/my%20service", Kind.SENTINEL, "redis://a:1/0", (("a", 1),), "my service"),
        ("rediss+sentinel://[::1]:7/main", Kind.SENTINEL, "rediss://[::1]:7/0", (("::1", 7),), "main"),
        (
            "redis+cluster://:p@a:7000,b.c_d-e",
            Kind.CLUSTER,
            "redis://:p@a:7000/0",
            (("a", 7000), ("b.c_d-e", 6379)),
            "",
        ),
        ("rediss+cluster://a/0", Kind.CLUSTER, "rediss://a:6379/0", (("a", 6379),), ""),
    ],
)
def test_url_names_a_way(
    url: str, kind: Kind, plain: str, hosts: tuple[tuple[str, int], ...], service: str
) -> None:
    way = way_of(url)

    assert (way.kind, way.url, way.hosts, way.service) == (kind, plain, hosts, service)


@pytest.mark.parametrize(
    "place", ["rediss://u:a+b@h/0", "rediss+sentinel://u:a+b@h/main", "rediss+cluster://u:a+b@h"]
)
def test_plus_is_a_plus_wherever_it_stands_in_a_url(place: str) -> None:
    options = parse_url(way_of(f"{place}?ssl_password=c+d%2Be%20f").url)  # type: ignore[no-untyped-call]

    assert (options["password"], options["ssl_password"]) == ("a+b", "c+d+e f")


def test_plus_in_the_password_of_sentinels_is_a_plus() -> None:
    way = way_of("redis+sentinel://a/main?sentinel_password=c+d%2Be%20f")

    assert dict(way.account) == {"password": "c+d+e f"}


def test_account_of_sentinel_is_its_own() -> None:
    way = way_of(f"redis+sentinel://u:p@a/main?sentinel_username=s&sentinel_password={HIDDEN}%21")

    assert dict(way.account) == {"username": "s", "password": f"{HIDDEN}!"}
    assert HIDDEN not in repr(way)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://hidden@/main", "hosts"),
        ("redis+sentinel://a:b:hidden/main", "hosts"),
        ("redis+sentinel://a,,b/main", "hosts"),
        ("redis+sentinel://a:0/main", "hosts"),
        ("redis+sentinel://a:70000/main", "hosts"),
        ("redis+sentinel://:hid/den@a/main", "hosts"),
        ("redis+sentinel://:hidden@a", "must name the service"),
        ("redis+sentinel://:hidden@a/main/x", "number of a database"),
        ("redis+cluster://:hidden@a/1", "no database but 0"),
        ("redis+cluster://", "hosts"),
        ("redis+cluster://a?sentinel_password=hidden", "is for redis+sentinel://"),
        ("redis+elsewhere://:hidden@a", "must begin with one of redis://, "),
        ("http+sentinel://a/main", "must begin with one of"),
        ("redis://:12#hidden@a/0", "has a # that is not percent-encoded"),
        ("redis+sentinel://:12#hidden@a/main", "has a # that is not percent-encoded"),
        ("redis:///0", "must name one host"),
        ("redis://:6379/0", "must name one host"),
        ("redis://:hidden@a,b/0", "must name one host"),
        ("redis://u:12/hidden@a", "must be the number of a database"),
        ("redis://a/0/1", "must be the number of a database"),
        ("redis://a/-1", "must be the number of a database"),
        ("redis://a?db=1&db=2", "option 'db' stands there twice"),
        ("redis+cluster://a?db=3", "a cluster has no other database"),
        ("unix://run/redis.sock", "behind three slashes"),
        ("unix://", "behind three slashes"),
    ],
)
def test_url_that_names_no_way_is_refused_and_not_shown(url: str, said: str) -> None:
    (line,) = faults(REDIS_URL=url)
    with pytest.raises(ValueError, match=r".") as raised:
        connect(url)

    assert line == f"REDIS_URL: {raised.value}"
    assert said in line
    assert HIDDEN not in line


@given(some.text(alphabet="{}ab", max_size=8))
def test_hash_tag_says_where_a_cluster_keeps_a_key(key: str) -> None:
    tag = hash_tag(key)

    assert key_slot(key.encode()) == key_slot((key if tag is None else f"{{{tag}}}").encode())


def test_names_without_a_common_hash_tag_are_refused_with_those_that_would_do() -> None:
    names = dict(zip(STREAMS, ("{a}orders", "results", "{b}dead"), strict=True))

    (line,) = faults(REDIS_URL="redis+cluster://h", **names)

    assert line == (
        "WORKER_ORDERS_STREAM, WORKER_RESULTS_STREAM, WORKER_DEAD_LETTER_STREAM: must share a hash tag,"
        " since REDIS_URL names a cluster: {a}orders, {a}:results, {a}:bdead would do"
    )


@pytest.mark.parametrize("names", [("{a}1", "{a}2", "x{a}3"), ("{a", "b}{a}", "c")])
def test_names_are_judged_as_a_cluster_does(names: tuple[str, str, str]) -> None:
    given_names = dict(zip(STREAMS, names, strict=True))

    if len({key_slot(name.encode()) for name in names}) == 1:
        assert accepted(REDIS_URL="redis+cluster://h", **given_names).orders_stream == names[0]
    else:
        assert faults(REDIS_URL="redis+cluster://h", **given_names)


def test_names_that_are_no_names_of_a_cluster_do_for_one_server() -> None:
    assert accepted(REDIS_URL="redis+sentinel://h/main", WORKER_ORDERS_STREAM="o").orders_stream == "o"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hidden@h/main?max_connections=3&ssl_certfile=/x",
        "rediss+sentinel://:hidden@h/main?ssl_ca_certs=/no/such/file",
        "rediss+cluster://:hidden@h?ssl_min_version=hidden",
        "redis+cluster://:hidden@h?unheard=hidden",
    ],
)
def test_options_are_judged_as_those_of_one_server(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        RedisLink(url, block_ms=1, client_name="test")

    assert str(refusal.value).startswith("REDIS_URL: ")
    assert HIDDEN not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://:hidden@127.0.0.1:1/main", "redis+cluster://:hidden@127.0.0.1:1"]
)
def test_nobody_is_asked_before_the_first_command(url: str) -> None:
    RedisLink(Endpoint.fixed(url), block_ms=1, client_name="test").close()


def test_sentinels_are_spoken_to_as_their_servers_are_and_under_an_account_of_their_own(
    tmp_path: Path,
) -> None:
    file = Authority.new(tmp_path, "authority").file
    way = way_of(f"rediss+sentinel://u:p@h/main?ssl_ca_certs={file}&sentinel_username=s")
    options = {**options_of(way.url), **dict.fromkeys(TO_ALL)}

    pool: Any = pool_of(way, options, "orders")

    (sentinel,) = pool.sentinel_manager.sentinels
    asking = sentinel.connection_pool
    assert (pool.connection_class, asking.connection_class) == (PrimarySSLConnection, SSLConnection)
    assert asking.connection_kwargs["ssl_ca_certs"] == str(file)
    assert asking.connection_kwargs["username"] == "s"
