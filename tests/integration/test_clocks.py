"""Clocks that disagree are told at the start."""

import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.harness import Deployment
from worker.bootstrap.clocks import warn_where_apart
from worker.stream import RedisLink


@pytest.fixture
def link(deployment: Deployment) -> Iterator[RedisLink]:
    made = RedisLink(deployment.servers.redis_url, block_ms=50, client_name="test")
    yield made
    made.close()


@pytest.mark.parametrize(("ahead_s", "told"), [(0, []), (180, [180]), (-180, [-180])])
def test_replica_warns_when_its_clock_and_that_of_redis_are_minutes_apart(
    link: RedisLink, ahead_s: int, told: list[int]
) -> None:
    """Proves that a host that dates rows ahead is noticed before its results might go out twice."""
    with capture_logs() as logged:
        warn_where_apart(link, now=lambda: time.time() + ahead_s)

    assert [round(each["ahead_s"], -1) for each in logged] == told
