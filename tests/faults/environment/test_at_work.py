"""Every condition of the servers strikes a replica in the middle of its work, and is lived through."""

import pytest

from tests.faults.environment import postgres_conditions, redis_conditions
from tests.faults.environment.site import Site
from tests.faults.environment.trial import Condition, endure


@pytest.mark.parametrize("condition", redis_conditions.CONDITIONS, ids=str)
def test_replica_lives_through_what_is_wrong_with_redis(
    site: Site, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    endure(site, condition, monkeypatch)


@pytest.mark.parametrize("condition", postgres_conditions.CONDITIONS, ids=str)
def test_replica_lives_through_what_is_wrong_with_postgresql(
    site: Site, condition: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    endure(site, condition, monkeypatch)
