"""What only a real Redis shows of retention: groups that read results, bounded calls, entries lost unread."""

from collections.abc import Iterator

import pytest

from tests.accounts import with_user
from tests.contract.conftest import RealStreams
from tests.contract.test_retention_contract import KEEP_MS, NODE, add, settled_orders
from tests.contract.test_settlement_contract import publication
from tests.harness import Deployment, names_of
from tests.skips import Reason, skip
from worker.domain.errors import Outage
from worker.domain.retention import Lost
from worker.stream import OrderStream, RedisLink, RedisNames, Rehearsal, StreamInspector
from worker.stream import orders as module


@pytest.fixture
def one(real_streams: RealStreams) -> OrderStream:
    return real_streams.consumer("one")


@pytest.fixture
def inspector(deployment: Deployment) -> Iterator[StreamInspector]:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    names = names_of(deployment, "inspector")
    yield StreamInspector(link, names)
    link.close()


@pytest.fixture
def counting(real_streams: RealStreams) -> RealStreams:
    """Only where the server counts what was added and read."""
    if not real_streams.counts_added:
        skip(Reason.COUNTS_NOTHING_ADDED)
    return real_streams


def test_results_that_a_group_has_not_acked_are_kept(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    settled_orders(real_streams, one, 4 * NODE)
    results = [entry_id for entry_id, _ in deployment.entries(deployment.results)]
    deployment.redis.xgroup_create(deployment.results, "reader", "0")
    deployment.redis.xreadgroup("reader", "slow", {deployment.results: ">"}, count=2 * NODE)

    nothing_acked = one.retain(keep_ms=0, most_results=1)
    deployment.redis.xack(deployment.results, "reader", *results[: 3 * NODE // 2])
    some_acked = one.retain(keep_ms=0, most_results=1)

    left = [entry_id for entry_id, _ in deployment.entries(deployment.results)]
    assert nothing_acked.results == 0
    assert some_acked.results >= NODE
    assert left == results[some_acked.results :]
    assert results[3 * NODE // 2] in left


def test_call_does_a_bounded_part_and_says_that_more_can_go(
    real_streams: RealStreams, one: OrderStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LET_GO_AT_ONCE", 2 * NODE)
    settled_orders(real_streams, one, 10 * NODE)
    real_streams.pass_time(KEEP_MS)
    (youngest,) = settled_orders(real_streams, one, 1)
    real_streams.pass_time(1)

    rounds = [one.retain(keep_ms=KEEP_MS, most_results=NODE)]
    while rounds[-1].more:
        rounds.append(one.retain(keep_ms=KEEP_MS, most_results=NODE))

    assert len(rounds) > 2
    assert max(done.orders for done in rounds) <= 4 * NODE
    assert max(done.marks for done in rounds) <= 2 * NODE
    assert max(done.results for done in rounds) <= 2 * NODE
    assert (real_streams.entries(), real_streams.marks()) == ([youngest], {youngest})
    assert len(real_streams.results()) < 2 * NODE


@pytest.mark.parametrize(("pending", "delivered"), [(9, 10), (2**53, 2**53 + 1), (2**63 - 1, 2**63)])
def test_ids_are_compared_as_whole_numbers_of_any_size(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, pending: int, delivered: int
) -> None:
    for sequence in (1, pending, delivered):
        deployment.redis.execute_command(  # type: ignore[no-untyped-call]
            "XADD", deployment.orders, f"7-{sequence}", "symbol", "A"
        )
    one.read(3, 1)
    one.settle([publication(f"7-{sequence}") for sequence in (1, delivered)])

    one.retain(keep_ms=1, most_results=0)

    assert real_streams.entries() == [f"7-{pending}", f"7-{delivered}"]


def test_new_stream_whose_ids_are_older_than_the_horizon_is_settled(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    settled_orders(real_streams, one, 1)
    real_streams.pass_time(KEEP_MS)
    settled_orders(real_streams, one, 1)
    real_streams.pass_time(1)
    one.retain(keep_ms=KEEP_MS, most_results=0)
    real_streams.delete_stream()
    one.ensure_group()
    deployment.redis.execute_command(  # type: ignore[no-untyped-call]
        "XADD", deployment.orders, "5-0", "symbol", "A"
    )

    one.read(1, 1)
    new = [one.settle([publication("5-0")]).new for _ in range(2)]

    assert new == [1, 0]
    assert len(real_streams.results()) == 3


def test_retention_of_streams_that_do_not_exist_does_nothing(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    real_streams.delete_stream()

    one.retain(keep_ms=1, most_results=1)

    assert one.lost_unread() is None
    assert one.remove_dead(0) == []
    assert not deployment.redis.exists(deployment.orders, deployment.results)


def test_lost_entries_are_not_counted_where_the_server_can_not_tell(
    real_streams: RealStreams, one: OrderStream, inspector: StreamInspector
) -> None:
    if real_streams.counts_added:
        skip(Reason.COUNTS_ADDED)
    real_streams.add(b"symbol", b"A")

    assert one.lost_unread() is None
    assert inspector.state().lost_unread is None


def test_lost_entries_are_shown_and_no_longer_part_of_the_lag(
    counting: RealStreams, one: OrderStream, inspector: StreamInspector
) -> None:
    settled_orders(counting, one, 3)
    add(counting, 10)
    counting.trim_to(6)
    before = inspector.state().lost_unread

    one.lost_unread()
    one.read(1, 1)

    assert before == 0
    assert (inspector.state().lost_unread, inspector.state().lag) == (4, 5)


def test_reads_that_a_promoted_replica_knows_nothing_of_are_not_lost(
    deployment: Deployment, counting: RealStreams, one: OrderStream
) -> None:
    """Proves it of a counter as it is there: that of the last SETID, noted on another run of the server."""
    settled_orders(counting, one, 3)
    one.lost_unread()
    names = counting.names("one")
    last = deployment.redis.xinfo_stream(names.orders)["last-generated-id"]
    deployment.redis.execute_command(  # type: ignore[no-untyped-call]
        "XGROUP", "SETID", names.orders, names.group, last, "ENTRIESREAD", 0
    )
    assert deployment.redis.hset(names.lost, "run", "of-the-primary-of-before") == 0

    before = one.lost_unread()
    add(counting, 4)
    counting.trim_to(1)

    assert before == Lost(0, 0)
    assert one.lost_unread() == Lost(3, 3)


def test_gap_between_neighbouring_ids_of_any_size_is_counted(
    deployment: Deployment, counting: RealStreams, one: OrderStream
) -> None:
    for sequence in range(2**63, 2**63 + 3):
        deployment.redis.execute_command(  # type: ignore[no-untyped-call]
            "XADD", deployment.orders, f"7-{sequence}", "symbol", "A"
        )
    one.read(1, 1)
    counting.trim_to(1)

    assert one.lost_unread() == Lost(1, 1)


def test_results_younger_than_they_are_kept_stay_whatever_their_number(
    real_streams: RealStreams, one: OrderStream
) -> None:
    settled_orders(real_streams, one, 4 * NODE)

    within = one.retain(keep_ms=0, most_results=1, results_keep_ms=KEEP_MS)
    # Ids of results are by the clock of Redis, whatever the tests say it is.
    real_streams.pass_time(100 * 365 * 86_400_000)
    beyond = one.retain(keep_ms=0, most_results=1, results_keep_ms=KEEP_MS)

    assert within.results == 0
    assert beyond.results >= 3 * NODE


COUNTING = ("hincrby", "hget")
CLOSED = ("hscan", "xdel", "hdel", "hset")


@pytest.mark.parametrize(
    "command",
    ["xinfo", "xpending", "xtrim", "zcount", "zremrangebyrank", "zscore", "xgroup", *CLOSED, *COUNTING],
)
def test_rehearsal_misses_each_right_that_retention_needs(
    deployment: Deployment, real_streams: RealStreams, command: str
) -> None:
    if command in COUNTING and not real_streams.counts_added:
        skip(Reason.COUNTS_NOTHING_ADDED)
    user = f"{deployment.name}_{command}"
    deployment.redis.acl_setuser(
        user, enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", f"-{command}"]
    )
    link = RedisLink(
        with_user(deployment.servers.redis_url, user, "secret"), block_ms=100, client_name="contract"
    )
    names = RedisNames(
        deployment.orders,
        deployment.results,
        deployment.dead_letters,
        deployment.fleet.source,
        "g",
        "restricted",
    )

    try:
        with pytest.raises(Outage):
            Rehearsal(link, names, lease_ms=1000, results_channel=None).run()
    finally:
        link.close()
        deployment.redis.acl_deluser(user)
