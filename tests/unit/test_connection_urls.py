"""URLs that only the libraries can judge: refused before anything connects, and no piece of a password shown."""

import pytest

from worker.domain.errors import ConfigurationError, Outage
from worker.store import Database
from worker.stream import RedisLink


def redis_link(url: str) -> RedisLink:
    return RedisLink(url, block_ms=10, client_name="test")


def database(url: str) -> Database:
    return Database(url, transaction_timeout_s=1, pool_size=1, application_name="test")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hidden@127.0.0.1:abc/b",
        "postgresql://u:p@ss:hidden@127.0.0.1/b",
        "postgresql://u:first@hidden@127.0.0.1/b",
        "postgresql://u:hidden@[::1/b",
        "postgresql://u:hidden@127.0.0.1:99999/b",
        "postgresql://u:hidden@127.0.0.1/b?unheard_of=hidden",
    ],
)
def test_database_url_that_can_not_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: ") as caught:
        database(url)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hidden@127.0.0.1:1/0?unheard_of=hidden",
        "redis://:hidden@127.0.0.1:1/0?socket_timeout=hidden",
        "redis://127.0.0.1:hidden/0",
    ],
)
def test_redis_url_that_can_not_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: ") as caught:
        redis_link(url)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///nowhere/redis.sock", "unix://:p@/nowhere?db=1"],
)
def test_redis_of_every_scheme_that_is_away_is_an_outage(url: str) -> None:
    link = redis_link(url)

    with pytest.raises(Outage):
        link.ping()

    link.close()


def test_option_of_a_redis_url_does_not_replace_what_the_worker_relies_on() -> None:
    link = redis_link("redis://127.0.0.1:1?decode_responses=True&socket_timeout=900&protocol=2")

    options = link._clients.commands.connection_pool.connection_kwargs  # noqa: SLF001  no server tells them apart

    assert (options["decode_responses"], options["socket_timeout"], options["protocol"]) == (False, 5.0, 3)
    link.close()
