"""What only a real Redis can show of a repair: announcements, entries made pending again, refused writes."""

from typing import Any

import pytest

from tests.contract.conftest import LEASE_MS, RealStreams
from tests.contract.test_settlement_contract import publication, taken
from tests.harness import Deployment
from worker.domain.deliveries import Restoration, Settlement
from worker.domain.errors import Outage
from worker.repair.restorations import restoration_of
from worker.stream.mending import HEARD_OF_WITHIN_MS


def published_once_and_deleted(deployment: Deployment, streams: RealStreams) -> Restoration:
    one, (entry_id,) = taken(streams)
    one.settle([publication(entry_id)])
    deployment.redis.delete(deployment.results)
    return restoration_of(publication(entry_id), again=True)


def test_deleted_result_goes_out_again_once_while_several_repairs_are_at_work(
    deployment: Deployment, real_streams: RealStreams
) -> None:
    again = published_once_and_deleted(deployment, real_streams)
    repairs = [real_streams.mending(name) for name in ("one", "two", "three")]
    for repair in repairs:
        repair.begin()

    done = [repair.restore([again]) for repair in repairs]
    repairs[0].end()
    late = [repair.restore([again]) for repair in repairs[1:]]

    assert done == [[True], [False], [False]]
    assert late == [[False], [False]]
    assert len(real_streams.results()) == 1


def test_result_deleted_once_more_can_go_out_once_more_after_all_repairs_have_ended(
    deployment: Deployment, real_streams: RealStreams
) -> None:
    again = published_once_and_deleted(deployment, real_streams)
    first, second = real_streams.mending("one"), real_streams.mending("two")
    first.begin()
    first.restore([again])
    first.end()
    deployment.redis.delete(deployment.results)

    second.begin()
    done = second.restore([again])

    assert done == [True]


def test_repair_that_was_held_up_must_begin_anew(deployment: Deployment, real_streams: RealStreams) -> None:
    again = published_once_and_deleted(deployment, real_streams)
    repair = real_streams.mending("one")
    repair.begin()
    real_streams.pass_time(HEARD_OF_WITHIN_MS + 1)

    with pytest.raises(Outage, match="held up"):
        repair.restore([again])
    with pytest.raises(Outage, match="held up"):
        repair.go_on()

    assert real_streams.results() == []


def test_repair_that_is_heard_of_in_time_may_take_as_long_as_it_needs(real_streams: RealStreams) -> None:
    repair = real_streams.mending("one")
    repair.begin()

    for _ in range(3):
        real_streams.pass_time(HEARD_OF_WITHIN_MS - 1)
        repair.go_on()


def test_entry_that_nobody_holds_is_made_pending_once_and_claimable_at_once(
    real_streams: RealStreams,
) -> None:
    one, (entry_id,) = taken(real_streams)
    one.settle([Settlement(entry_id, "ack")])

    made = [real_streams.mending("two").readopt([entry_id]) for _ in range(2)]
    assert real_streams.pending() == {entry_id: ("repair", 0)}
    (claimed,) = real_streams.consumer("three").claim("0-0", 10).deliveries

    assert made == [[entry_id], []]
    assert (claimed.entry_id, claimed.count, claimed.charged) == (entry_id, 0, False)


def test_entry_in_hand_is_not_taken_from_its_owner_by_a_repair(real_streams: RealStreams) -> None:
    _, (entry_id,) = taken(real_streams)

    made = real_streams.mending("two").readopt([entry_id])

    assert made == []
    assert real_streams.pending() == {entry_id: ("one", 1)}


def test_entry_that_is_not_there_is_not_made_pending(real_streams: RealStreams) -> None:
    one, (entry_id,) = taken(real_streams)
    one.settle([Settlement(entry_id, "ack")])
    real_streams.delete(entry_id)

    assert real_streams.mending("two").readopt([entry_id, "1-1"]) == []
    assert real_streams.pending() == {}


def test_nothing_is_made_pending_without_the_group(real_streams: RealStreams) -> None:
    _, (entry_id,) = taken(real_streams)
    real_streams.destroy_group()

    assert real_streams.mending("two").readopt([entry_id]) == []


def test_refused_result_takes_the_mark_of_a_repair_back(
    deployment: Deployment, real_streams: RealStreams
) -> None:
    one, (entry_id,) = taken(real_streams)
    one.settle([Settlement(entry_id, "ack")])
    deployment.redis.set(deployment.results, "no stream")
    repair = real_streams.mending("two")

    with pytest.raises(Outage, match="WRONGTYPE"):
        repair.restore([restoration_of(publication(entry_id))])
    deployment.redis.delete(deployment.results)

    assert real_streams.marks() == set()
    assert repair.restore([restoration_of(publication(entry_id))]) == [True]


def test_refused_result_of_which_nobody_can_know_takes_its_mark_back(
    deployment: Deployment, real_streams: RealStreams
) -> None:
    again = published_once_and_deleted(deployment, real_streams)
    real_streams.lose_marks()
    deployment.redis.set(deployment.results, "no stream")
    repair = real_streams.mending("one")
    repair.begin()

    with pytest.raises(Outage, match="WRONGTYPE"):
        repair.restore([again])
    marks = real_streams.marks()
    deployment.redis.delete(deployment.results)
    done = repair.restore([again])

    assert marks == set()
    assert done == [True]


def test_restored_result_is_copied_to_the_channel(deployment: Deployment, real_streams: RealStreams) -> None:
    one, (entry_id,) = taken(real_streams)
    one.settle([Settlement(entry_id, "ack")])
    channel = deployment.key("copies")
    pubsub = deployment.redis.pubsub()  # type: ignore[no-untyped-call]
    pubsub.subscribe(channel)
    pubsub.get_message(timeout=5)

    real_streams.mending("two", channel=channel).restore(
        [Restoration(entry_id, "publish", ("type", "order_result"), '{"copy":1}')]
    )

    heard: Any = pubsub.get_message(timeout=5)
    pubsub.close()
    assert heard["data"] == b'{"copy":1}'


def test_lease_of_what_is_made_pending_has_run_out(deployment: Deployment, real_streams: RealStreams) -> None:
    one, (entry_id,) = taken(real_streams)
    one.settle([Settlement(entry_id, "ack")])

    real_streams.mending("two").readopt([entry_id])

    found: Any = deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 10)
    (pending,) = found
    assert pending["time_since_delivered"] >= LEASE_MS


def test_repair_that_begins_beside_others_lets_none_of_them_publish_twice(
    deployment: Deployment, real_streams: RealStreams
) -> None:
    again = published_once_and_deleted(deployment, real_streams)
    first, looked_long_ago, late = (real_streams.mending(name) for name in ("one", "two", "three"))
    first.begin()
    looked_long_ago.begin()
    first.restore([again])
    first.end()

    late.begin()
    done = looked_long_ago.restore([again])

    assert done == [False]
    assert len(real_streams.results()) == 1
