"""What one row leaves broken costs no other row anything."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from local import LocalPostgres, LocalRedis
from tests.faults.environment.lending import PostgresLender, RedisLender, healing
from tests.faults.environment.redis_conditions import NOBODY


def demoted(server: LocalRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.replicaof(*NOBODY)


def full(server: LocalRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)


def littered(server: LocalRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("left", "behind")


@pytest.mark.parametrize(
    "harm", [demoted, full, littered, LocalRedis.pause, LocalRedis.kill], ids=lambda harm: harm.__name__
)
def test_redis_that_comes_back_changed_is_discarded(
    tmp_path: Path, harm: Callable[[LocalRedis], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.faults.environment.lending.PATIENCE_S", 0.5)
    lender = RedisLender(tmp_path)
    try:
        with lender.lend() as whole:
            pass
        with pytest.raises(AssertionError, match="discarded Redis"), lender.lend() as broken:
            harm(broken)

        with lender.lend() as new, redis.Redis.from_url(new.url) as client:
            written, left = client.ping(), client.dbsize()
    finally:
        lender.end()

    assert whole is broken is not new
    assert (written, left) == (True, 0)


def left_read_only(server: LocalPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")


def left_a_role(server: LocalPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE somebody")


@pytest.mark.parametrize("harm", [left_read_only, left_a_role], ids=lambda harm: harm.__name__)
def test_postgresql_that_comes_back_changed_is_discarded(
    tmp_path: Path, harm: Callable[[LocalPostgres], None]
) -> None:
    lender = PostgresLender(tmp_path)
    try:
        with pytest.raises(AssertionError, match="discarded PostgreSQL"), lender.lend() as broken:
            harm(broken)

        with lender.lend() as new:
            pass
    finally:
        lender.end()

    assert broken is not new


def test_what_harms_heals_however_the_block_ends() -> None:
    healed = []

    @healing
    def harm() -> Iterator[str]:
        yield "harmed"
        healed.append("healed")

    with pytest.raises(ZeroDivisionError), harm() as state:
        raise ZeroDivisionError(state)

    assert healed == ["healed"]
