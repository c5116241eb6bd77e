"""What several tests of fleets begin with."""

from collections.abc import Iterator

import pytest

from local import LocalRedis
from tests.harness import Deployment, Servers


@pytest.fixture
def elsewhere(deployment: Deployment, own_redis: LocalRedis) -> Iterator[Deployment]:
    """A deployment of the same names and database on another Redis, and so under the same source."""
    servers = Servers(own_redis.url, deployment.servers.database_url)
    with deployment.elsewhere(servers) as made:
        yield made
