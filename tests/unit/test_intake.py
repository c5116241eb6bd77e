"""What is taken next: groups that shrink, pages, retries, reads that never outsleep the next duty."""

import pytest

from tests.builders import delivery, flat
from tests.fakes import Bench, FakeOrders
from worker.consumer.reads import LONGEST_PAUSE_S
from worker.domain.deliveries import Delivery, Settlement
from worker.domain.errors import Outage

LEASE_S = 30


def abandoned(bench: Bench, counts: list[int]) -> list[str]:
    """Return entries that a dead consumer left pending with these counts."""
    entry_ids = [bench.stream.add(*flat(order_id=f"o{i}")) for i in range(len(counts))]
    bench.abandon(entry_ids, counts)
    return entry_ids


def sizes_until_idle(bench: Bench) -> list[int]:
    sizes = []
    while taken := bench.intake.take():
        sizes.append(len(taken))
        bench.orders.settle([_ack(each) for each in taken])
        bench.lease.let_go(taken)
    return sizes


def test_new_entries_come_as_a_batch_and_are_charged() -> None:
    bench = Bench(batch_size=3)
    bench.submit("a", "b", "c", "d")

    taken = bench.intake.take()

    assert [(each.count, each.charged) for each in taken] == [(1, True)] * 3
    assert bench.lease.held == {each.entry_id for each in taken}


def test_nothing_to_take_is_an_empty_group_after_block_ms() -> None:
    bench = Bench(block_ms=2000)
    bench.intake.take()
    started_at = bench.clock.seconds

    taken = bench.intake.take()

    assert taken == []
    assert bench.clock.seconds - started_at == pytest.approx(2)


def never_waiting(bench: Bench) -> list[float]:
    """Have reads answer at once, as some services do; return when each one was asked, as they are."""
    asked = list[float]()
    handed_out = bench.orders._handed_out  # noqa: SLF001  what a read does beside waiting

    def read(count: int, _block_ms: int) -> list[Delivery]:
        asked.append(bench.clock.seconds)
        return handed_out(count) or []

    bench.orders.read = read  # type: ignore[assignment, method-assign]
    return asked


def test_server_that_answers_at_once_what_was_to_wait_is_asked_again_after_a_pause() -> None:
    bench = Bench(block_ms=2000)
    asked, began = never_waiting(bench), bench.clock.seconds

    while bench.clock.seconds < began + 60:
        assert bench.intake.take() == []
        assert len(asked) < 10_000

    assert len(asked) <= 60 / LONGEST_PAUSE_S + 20


def test_server_that_never_waits_is_asked_again_at_once_after_it_had_something() -> None:
    bench = Bench(block_ms=2000, batch_size=2)
    bench.submit("a", "b", "c")
    asked = never_waiting(bench)

    taken = [bench.intake.take(), bench.intake.take()]

    assert [len(each) for each in taken] == [2, 1]
    assert asked[0] == asked[1]


def test_pause_is_no_longer_than_the_read_was_to_wait() -> None:
    bench = Bench(block_ms=20)
    asked = never_waiting(bench)

    for _ in range(3):
        bench.intake.take()

    assert asked[2] - asked[1] == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [40, 40]), (1, [32, 8, 32, 8]), (2, [1] * 80), (4, [1] * 80)],
    ids=["never begun", "begun once", "begun twice", "begun often"],
)
def test_abandoned_entries_run_in_groups_that_shrink_with_their_deliveries(
    count: int, sizes: list[int]
) -> None:
    bench = Bench(batch_size=40)
    abandoned(bench, [count] * 80)

    taken = sizes_until_idle(bench)

    # A page holds a batch, and no group spans two pages.
    assert taken == sizes


def test_least_charged_come_first_and_never_share_a_group_with_suspects() -> None:
    bench = Bench(batch_size=100)
    abandoned(bench, [3, 0, 1, 0, 2, 1])

    groups = []
    while taken := bench.intake.take():
        groups.append([each.count for each in taken])

    assert groups == [[0, 0], [1, 1], [2], [3]]


def test_most_charged_comes_last_so_that_nobody_waits_behind_what_kills_its_process() -> None:
    bench = Bench(batch_size=100)
    first, second, third, fourth = abandoned(bench, [4, 2, 3, 2])

    taken = [bench.intake.take()[0].entry_id for _ in range(4)]

    assert taken == [second, fourth, third, first]


def test_page_is_worked_off_before_more_is_claimed() -> None:
    bench = Bench(batch_size=4)
    abandoned(bench, [2] * 8)

    for _ in range(4):
        bench.intake.take()
    claims_for_first_page = bench.orders.faults.steps.count("claim")
    bench.intake.take()

    assert claims_for_first_page == 1
    assert bench.orders.faults.steps.count("claim") == 2


def test_abandoned_entries_are_looked_for_four_times_per_lease() -> None:
    bench = Bench(block_ms=60_000)
    bench.intake.take()
    started_at = bench.clock.seconds

    while bench.clock.seconds < started_at + LEASE_S:
        bench.intake.take()

    assert bench.orders.faults.steps.count("claim") - 1 in {3, 4}


def another(bench: Bench) -> FakeOrders:
    """Another replica of the fleet."""
    return FakeOrders(bench.stream, "another", lease_ms=LEASE_S * 1000)


def test_one_replica_looks_for_abandoned_entries_at_a_time() -> None:
    bench = Bench(block_ms=1000)
    entry_ids = abandoned(bench, [0])
    another(bench).begin_look()
    bench.orders.faults.steps.clear()

    at_once = bench.intake.take()

    assert at_once == []
    assert "claim" not in bench.orders.faults.steps
    began_at = bench.clock.seconds
    while not (taken := bench.intake.take()):
        pass
    assert [each.entry_id for each in taken] == entry_ids
    # The turn of whoever has died runs out, and each asks four times a lease.
    assert bench.clock.seconds - began_at <= LEASE_S / 2


@pytest.mark.parametrize(("count", "others"), [(3, []), (4, ["another"]), (9, ["another"])])
def test_others_look_as_well_where_one_batch_is_not_all(count: int, others: list[str]) -> None:
    bench = Bench(batch_size=4)
    abandoned(bench, [0] * count)

    bench.intake.take()

    assert [each.consumer for each in (another(bench),) if each.begin_look()] == others


def test_page_is_handled_at_once_though_the_end_of_the_turn_could_not_be_told() -> None:
    bench = Bench(batch_size=4)
    entry_ids = abandoned(bench, [0] * 4)
    bench.orders.faults.plant("end_look")
    with pytest.raises(Outage):
        bench.intake.take()

    taken = bench.intake.take()

    assert [each.entry_id for each in taken] == entry_ids


def test_look_goes_on_to_its_end_whoever_looks_meanwhile() -> None:
    bench = Bench(batch_size=2)
    abandoned(bench, [0] * 6)
    first = bench.intake.take()
    assert another(bench).begin_look()

    rest = [len(bench.intake.take()) for _ in range(2)]

    assert [len(first), *rest] == [2, 2, 2]


def test_trimmed_entries_are_asked_about_by_whoever_looks() -> None:
    bench = Bench()
    another(bench).begin_look()
    bench.stream.trimmed["1-1"] = 0
    bench.orders.faults.steps.clear()

    bench.intake.take()

    assert "trimmed" not in bench.orders.faults.steps


def test_entries_in_hand_are_not_claimed_from_oneself() -> None:
    bench = Bench()
    bench.submit("a")
    bench.intake.take()
    bench.clock.advance(LEASE_S + 1)

    taken = bench.intake.take()

    assert taken == []


def test_new_entries_are_read_while_the_scan_meets_nothing_but_entries_of_others() -> None:
    bench = Bench(batch_size=1)
    other = Bench(bench.stream, consumer="other", batch_size=50)
    other.submit(*(f"held-{i}" for i in range(50)))
    other.intake.take()
    bench.submit("new")

    (taken,) = bench.intake.take()

    assert b"new" in taken.fields


def test_retry_is_handed_out_alone_when_it_is_due() -> None:
    bench = Bench()
    bench.submit("a", "b")
    first, _ = bench.intake.take()
    bench.intake.postpone(first)
    bench.clock.advance(60)

    taken = bench.intake.take()

    assert taken == [first]


def test_what_is_new_comes_between_two_that_are_tried_again() -> None:
    bench = Bench()
    bench.submit("a", "b")
    first, second = bench.intake.take()
    bench.intake.postpone(first)
    bench.intake.postpone(second)
    bench.clock.advance(60)
    third, fourth = bench.submit("c"), bench.submit("d")

    taken = [[each.entry_id for each in bench.intake.take()] for _ in range(2)]
    fifth = bench.submit("e")
    taken += [[each.entry_id for each in bench.intake.take()] for _ in range(2)]

    assert taken == [third + fourth, [first.entry_id], fifth, [second.entry_id]]


def test_read_does_not_outsleep_the_next_retry() -> None:
    bench = Bench(block_ms=5000)
    bench.intake.take()
    bench.intake.postpone(delivery("1-1", count=1, charged=False))
    started_at = bench.clock.seconds

    while not (taken := bench.intake.take()):
        pass

    assert taken[0].entry_id == "1-1"
    assert bench.clock.seconds - started_at == pytest.approx(1.0, abs=0.01)


def test_retries_wait_longer_the_more_often_they_failed() -> None:
    bench = Bench(block_ms=1)
    waits = []

    for count in (1, 2, 3, 4):
        bench.intake.postpone(delivery(f"{count}-1", count=count, charged=False))
        started_at = bench.clock.seconds
        while not bench.intake.take():
            pass
        waits.append(bench.clock.seconds - started_at)

    assert waits == pytest.approx([1, 2, 4, 8], abs=0.1)


def test_failed_read_is_followed_by_a_look_for_what_arrived_unseen() -> None:
    bench = Bench()
    entry_ids = bench.submit("a", "b")
    bench.orders.faults.plant("read", reply_lost=True)
    with pytest.raises(Outage):
        bench.intake.take()

    taken = bench.intake.take()

    assert [(each.entry_id, each.count, each.charged) for each in taken] == [
        (each, 0, False) for each in entry_ids
    ]


def test_failed_claim_is_followed_by_a_look_for_what_arrived_unseen() -> None:
    bench = Bench()
    entry_ids = abandoned(bench, [0, 1, 2])
    bench.orders.faults.plant("claim", reply_lost=True)
    with pytest.raises(Outage):
        bench.intake.take()

    taken = [each for _ in range(3) for each in bench.intake.take()]

    assert sorted((each.entry_id, each.count) for each in taken) == list(
        zip(entry_ids, [0, 1, 2], strict=True)
    )


def test_what_a_claim_took_unseen_keeps_its_charge_when_a_read_failed_as_well() -> None:
    bench = Bench()
    (entry_id,) = abandoned(bench, [1])
    bench.orders.faults.plant("claim", reply_lost=True)
    with pytest.raises(Outage):
        bench.intake.take()
    bench.orders.faults.plant("read", reply_lost=True)
    with pytest.raises(Outage):
        bench.intake._reads.take(2.0)  # noqa: SLF001  both replies are lost before anybody looks

    (taken,) = bench.intake.take()

    assert (taken.entry_id, taken.count) == (entry_id, 1)


def test_unseen_entries_are_looked_for_until_none_are_left() -> None:
    bench = Bench(batch_size=2)
    entry_ids = bench.submit("a", "b", "c", "d", "e")
    for _ in range(3):
        bench.orders.faults.plant("read", reply_lost=True)
        with pytest.raises(Outage):
            bench.intake._reads.take(2.0)  # noqa: SLF001  three replies are lost before anybody looks

    taken = [each.entry_id for _ in range(3) for each in bench.intake.take()]

    assert taken == entry_ids


def test_look_for_unseen_entries_is_repeated_when_it_failed_itself() -> None:
    bench = Bench()
    bench.submit("a")
    bench.orders.faults.plant("read", reply_lost=True)
    bench.orders.faults.plant("own_pending")
    for _ in range(2):
        with pytest.raises(Outage):
            bench.intake.take()

    taken = bench.intake.take()

    assert len(taken) == 1


def test_leftovers_are_what_was_taken_and_not_handed_out() -> None:
    bench = Bench(batch_size=10)
    entry_ids = abandoned(bench, [2, 2, 2])
    (begun,) = bench.intake.take()
    bench.intake.postpone(begun)

    left = bench.intake.leftovers()

    assert sorted(each.entry_id for each in left) == entry_ids
    assert bench.intake.leftovers() == []


def test_claimed_page_without_a_reply_is_claimed_again_after_the_lease() -> None:
    bench = Bench()
    entry_ids = abandoned(bench, [1])
    bench.orders.faults.plant("claim", reply_lost=True)
    with pytest.raises(Outage):
        bench.intake.take()
    bench.clock.advance(LEASE_S + 1)

    taken = bench.intake.take()

    assert [each.entry_id for each in taken] == entry_ids


def test_trimmed_entry_becomes_an_incident_only_after_its_owner_has_had_a_lease() -> None:
    bench = Bench()
    (entry_id,) = abandoned(bench, [1])
    del bench.stream.entries[entry_id]
    at_once = bench.intake.take()
    bench.clock.advance(LEASE_S + 1)

    later = bench.intake.take()

    assert at_once == []
    assert later == [Delivery(entry_id, (), 0, False, hold=later[0].hold)]


def _ack(each: Delivery) -> Settlement:
    return Settlement(each.entry_id, "ack")


def test_abandoned_entry_is_found_behind_many_that_others_hold() -> None:
    bench = Bench(batch_size=1)
    other = Bench(bench.stream, consumer="other", batch_size=50)
    held = other.submit(*(f"held-{i}" for i in range(49)), "abandoned")
    other.intake.take()
    assert bench.stream.group is not None
    bench.stream.group.pending[held[-1]].since_ms = 0

    taken = [each.entry_id for _ in range(10) for each in bench.intake.take()]

    assert taken == [held[-1]]
