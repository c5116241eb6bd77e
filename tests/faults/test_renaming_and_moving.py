"""A group is renamed, marks are deleted, streams move to another Redis under load: one result per order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import LocalRedis
from tests.acceptance.test_commands import worker
from tests.faults.flow import (
    ORDERS,
    TIMES,
    WITHIN_S,
    Flow,
    assert_one_result_each,
    come_to_rest,
    drain,
    flowing,
    kill,
)
from tests.fleets import (
    delete_marks,
    deletions_are_told,
    group_is_through,
    marks,
    not_to_be_known,
    orders_not_to_be_known,
    result_ids,
)
from tests.harness import Deployment, Servers, eventually
from tests.processes import WorkerProcess, workers

STRETCH = ORDERS // 4
# Results that a hand on the stream has left.
KEPT = ORDERS // 2

pytestmark = pytest.mark.timeout(300)


def decide_what_is_told(deployment: Deployment, flow: Flow) -> None:
    """Publish what was committed and not settled when marks were lost, where nobody can know.

    Each of these was told.
    """
    missing = flow.sent - set(result_ids(deployment))
    if deletions_are_told(deployment):
        assert not missing
        return
    assert not_to_be_known(deployment) == len(missing)
    assert set(orders_not_to_be_known(deployment, "--repair", "--republish")) == missing
    eventually(lambda: len(flow.seen) == flow.submitted)


def test_each_order_has_one_result_when_replicas_restart_under_another_group_that_replaces_the_first(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that what the old group settled is only acked in the new one, and what it held settled there."""
    with flowing(deployment) as flow:
        with workers(deployment, tmp_path, 2, **TIMES) as (dying, leaving):
            flow.await_more(STRETCH)
            kill(dying)
            assert leaving.drain() == 0
        deployment.redis.xgroup_destroy(deployment.orders, deployment.group)
        deployment.group = "execution-v2"
        with workers(deployment, tmp_path, 2, **TIMES) as replicas:
            flow.await_more(ORDERS - STRETCH)
            come_to_rest(deployment, flow, *replicas)

    assert_one_result_each(deployment, flow)


def test_each_order_has_one_result_when_replicas_of_two_groups_work_side_by_side(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves the same of a rolling restart: both groups take each entry, one result goes out.

    The old group is left.
    """
    old_group = deployment.group
    with flowing(deployment) as flow, workers(deployment, tmp_path, 2, **TIMES) as (dying, leaving):
        flow.await_more(STRETCH)
        deployment.group = "execution-v2"
        with workers(deployment, tmp_path, 2, **TIMES) as replicas:
            flow.await_more(STRETCH)
            kill(dying)
            kill(replicas[0])
            flow.await_more(STRETCH)
            assert leaving.drain() == 0
            flow.await_more(STRETCH)
            come_to_rest(deployment, flow, replicas[1])

    assert {each["name"].decode() for each in deployment.redis.xinfo_groups(deployment.orders)} == {
        old_group,
        deployment.group,
    }
    # It holds what its replicas had in hand for ever; nothing else tells it from a group that somebody needs.
    deployment.redis.xgroup_destroy(deployment.orders, old_group)
    assert_one_result_each(deployment, flow)


@pytest.mark.parametrize("group", ["which stays", "which is destroyed as well"])
def test_each_order_has_one_result_when_the_marks_of_a_group_are_deleted_under_load(
    deployment: Deployment, tmp_path: Path, group: str
) -> None:
    """Proves that results on the stream answer for marks, whoever asks: deliveries, claims and repairs."""
    with flowing(deployment) as flow, workers(deployment, tmp_path, 3, **TIMES) as (dying, *others):
        for _ in range(2):
            flow.await_more(STRETCH)
            delete_marks(deployment, and_the_group=group != "which stays")
        kill(dying)
        with workers(deployment, tmp_path, 1, **TIMES) as (following,):
            flow.await_more(2 * STRETCH)
            come_to_rest(deployment, flow, *others, following)
        decide_what_is_told(deployment, flow)

    assert_one_result_each(deployment, flow)


@pytest.fixture
def here(deployment: Deployment, own_redis: LocalRedis) -> Iterator[Deployment]:
    """The deployment on a Redis of its own, which it can leave."""
    servers = Servers(own_redis.url, deployment.servers.database_url)
    with Deployment(servers, deployment.name, deployment.database_name) as made:
        yield made


@pytest.fixture
def there(here: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """The same deployment on another Redis, where nothing is yet."""
    server = LocalRedis(tmp_path / "there")
    server.start()
    servers = Servers(server.url, here.servers.database_url)
    with Deployment(servers, here.name, here.database_name, here.accepted) as made:
        yield made
    server.stop()


def move(here: Deployment, there: Deployment, *, with_marks: bool) -> None:
    """Copy every key to the other server, as a person would who moves them."""
    left = set() if with_marks else {key.encode() for key in marks(here)}
    for key in set(here.redis.scan_iter()) - left:
        # What a killed replica said of itself may end meanwhile.
        ends_in_ms, kept = here.redis.pttl(key), here.redis.dump(key)
        if kept is not None:
            there.redis.restore(key, max(0, ends_in_ms), kept)


@pytest.mark.parametrize("marks_move", [True, False], ids=["with its marks", "without marks"])
def test_each_order_has_one_result_when_the_streams_move_to_another_redis_under_load(
    here: Deployment, there: Deployment, tmp_path: Path, *, marks_move: bool
) -> None:
    """Proves that what was in hand is settled there, and what was settled here not published again there."""
    with flowing(here) as flow, workers(here, tmp_path, 2, **TIMES) as replicas:
        flow.await_more(STRETCH)
        for replica in replicas:
            kill(replica)
    move(here, there, with_marks=marks_move)

    with flowing(there, flow) as following, workers(there, tmp_path, 2, **TIMES) as replicas:
        following.await_more(ORDERS - STRETCH)
        come_to_rest(there, following, *replicas)
        decide_what_is_told(there, following)

    assert_one_result_each(there, following)


def assert_all_is_there_or_told(deployment: Deployment, flow: Flow, *replicas: WorkerProcess) -> None:
    """Assert that each result was read once, and a person is told of each that is no longer on the stream."""
    flow.end()
    eventually(lambda: group_is_through(deployment), within=WITHIN_S)
    gone = flow.sent - set(result_ids(deployment))
    # While replicas are there: who leaves before it has answered its questions leaves them to the next one.
    eventually(lambda: not_to_be_known(deployment) == len(gone), within=WITHIN_S)
    drain(*replicas)
    said = worker(deployment, "status")
    assert said.returncode == 1
    assert said.stdout.startswith("Needs you: ")
    assert f"{len(gone):,}" in said.stdout
    assert "worker audit --repair" in said.stdout
    assert set(orders_not_to_be_known(deployment)) == gone
    flow.finish()
    flow.assert_each_was_seen_once()


def trim_results(deployment: Deployment) -> None:
    """Let go of results that readers have read."""
    assert deployment.redis.xtrim(deployment.results, maxlen=KEPT, approximate=False) > 0


def test_what_nobody_can_know_is_told_when_results_were_trimmed_before_marks_and_group_were_deleted(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that missing marks publish nothing if results are missing too, though all entries come again."""
    with flowing(deployment) as flow, workers(deployment, tmp_path, 2, **TIMES) as replicas:
        flow.await_more(ORDERS)
        trim_results(deployment)
        flow.await_more(STRETCH)
        delete_marks(deployment, and_the_group=True)
        flow.await_more(STRETCH)
        assert_all_is_there_or_told(deployment, flow, *replicas)


def test_what_nobody_can_know_is_told_when_results_were_trimmed_before_the_marks_were_deleted_at_rest(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves the same of the repair that each replica begins with."""
    with flowing(deployment) as flow:
        with workers(deployment, tmp_path, 2, **TIMES) as replicas:
            flow.await_more(ORDERS)
            come_to_rest(deployment, flow, *replicas)
        trim_results(deployment)
        delete_marks(deployment)

    with flowing(deployment, flow) as following, workers(deployment, tmp_path, 2, **TIMES) as replicas:
        following.await_more(STRETCH)
        assert_all_is_there_or_told(deployment, following, *replicas)


def test_what_nobody_can_know_is_told_when_results_were_trimmed_before_the_streams_moved_without_marks(
    here: Deployment, there: Deployment, tmp_path: Path
) -> None:
    """Proves the same of streams on another server, which says nothing of what was trimmed on the first."""
    with flowing(here) as flow, workers(here, tmp_path, 2, **TIMES) as replicas:
        flow.await_more(ORDERS)
        come_to_rest(here, flow, *replicas)
    trim_results(here)
    move(here, there, with_marks=False)

    with flowing(there, flow) as following, workers(there, tmp_path, 2, **TIMES) as replicas:
        following.await_more(STRETCH)
        assert_all_is_there_or_told(there, following, *replicas)
