"""A result that may be out, since Redis has lost its marks, is looked for and then given out, once."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes import Bench
from worker.domain.deliveries import Settlement
from worker.domain.errors import Outage

FAR_ABOVE = 10**15


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.worker.lease.stop()


def held_through_a_loss(bench: Bench, order_id: str) -> str:
    """An order in hand of which Redis knows nothing any more, but for the result of another one."""
    (entry_id,) = bench.submit(order_id)
    bench.worker.lease.start()
    bench.worker.refill()
    held_by_nobody(bench)
    bench.stream.entries.clear()
    bench.stream.results.append({"order_id": "z", "entry_id": "1-1"})
    bench.stream.lose_marks()
    return entry_id


def committed(bench: Bench, order_id: str) -> str:
    """An order in hand whose row is written, and whose result is to be published next."""
    (entry_id,) = bench.submit(order_id)
    bench.worker.lease.start()
    bench.worker.refill()
    bench.worker.outcomes = bench.handling.handle(bench.worker.in_hand)
    return entry_id


def published_by_another(bench: Bench, order_id: str) -> str:
    """An order whose row is written, and that another replica has settled when its lease had run out."""
    entry_id = committed(bench, order_id)
    bench.clock.advance(31)
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")
    other.run_until(lambda: published(bench) == [order_id])
    return entry_id


def published(bench: Bench) -> list[str]:
    return [result["order_id"] for result in bench.stream.results]


def test_result_of_an_order_that_redis_has_lost_goes_out(bench: Bench) -> None:
    held_through_a_loss(bench, "a")

    bench.worker.work_through()
    before = published(bench)
    bench.worker.refill()
    bench.worker.refill()

    assert (before, published(bench)) == (["z"], ["z", "a"])


def test_result_that_others_have_published_meanwhile_does_not_go_out_again(bench: Bench) -> None:
    entry_id = held_through_a_loss(bench, "a")
    bench.stream.results.append({"order_id": "a", "entry_id": entry_id})

    bench.worker.work_through()
    bench.worker.refill()

    assert published(bench) == ["z", "a"]


def test_letter_of_an_entry_that_redis_has_lost_goes_out(bench: Bench) -> None:
    bench.stream.add(b"payload", b"{nonsense")
    bench.worker.lease.start()
    bench.worker.refill()
    held_by_nobody(bench)
    bench.stream.letters.append(("entry_id", "1-1", "reason", "undecodable"))
    bench.stream.lose_marks()

    bench.worker.work_through()
    assert len(bench.stream.letters) == 1
    bench.worker.refill()
    bench.worker.refill()

    _, letter = bench.stream.letters
    assert "undecodable" in letter


@pytest.mark.parametrize("step", ["begin_walk", "fates", "result_pages", "remember", "end_walk"])
def test_doubt_stays_when_redis_is_away(bench: Bench, step: str) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.orders.faults.plant(step, reply_lost=True)

    with pytest.raises(Outage):
        bench.worker.refill()
    bench.worker.refill()

    assert published(bench) == ["z", "a"]


def test_doubt_is_settled_before_anything_else_is_taken(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.submit("b")

    bench.worker.refill()

    steps = bench.orders.faults.steps
    assert published(bench) == ["z", "a"]
    assert len(steps) - steps[::-1].index("end_walk") < len(steps) - steps[::-1].index("read")


def test_doubt_is_settled_before_a_drain_ends(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.outcomes = bench.handling.handle(bench.worker.in_hand)
    bench.drain.request()

    bench.worker.hand_back()

    assert published(bench) == ["z", "a"]


def test_result_of_which_nobody_can_know_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(bench, "a")
    monkeypatch.setattr(bench.orders, "nobody_can_know", lambda _: True)

    with capture_logs() as said:
        bench.worker.work_through()

    assert published(bench) == []
    assert [line["orders"] for line in said if "nobody can know" in line["event"]] == [1]


def test_ack_alone_leaves_no_doubt(bench: Bench) -> None:
    settled = bench.orders.settle([Settlement("1-1", "ack")])

    assert settled.in_doubt == ()


def test_what_may_be_out_already_is_told_when_only_the_reply_to_its_settle_was_lost(bench: Bench) -> None:
    """Proves that a row of one's own is not taken for unpublished: the first settle may have worked."""
    (entry_id,) = bench.submit("a")
    bench.worker.lease.start()
    bench.worker.refill()
    bench.orders.faults.plant("settle", reply_lost=True)
    with pytest.raises(Outage):
        bench.worker.work_through()
    lose_what_was_given_out(bench)

    bench.worker.work_through()
    bench.worker.refill()

    assert (published(bench), bench.stream.unknown) == ([], [entry_id])


def test_what_may_be_out_already_is_told_when_others_had_the_time_to_publish_it(bench: Bench) -> None:
    """Proves that a process that slept longer than its lease does not take its own row for unpublished."""
    entry_id = published_by_another(bench, "a")
    lose_what_was_given_out(bench)

    bench.worker.work_through()
    bench.worker.refill()

    assert (published(bench), bench.stream.unknown) == ([], [entry_id])


def test_what_others_settled_so_long_ago_that_its_mark_was_dropped_is_theirs_and_nobody_is_asked(
    bench: Bench,
) -> None:
    """Proves that a process that slept longer than marks are kept gives nothing out.

    Nothing tells it that others have.
    """
    published_by_another(bench, "a")
    bench.stream.entries.clear()
    bench.stream.horizon_ms = FAR_ABOVE
    bench.stream.settled.clear()
    bench.stream.results.trim(1)

    bench.worker.work_through()

    assert (published(bench), bench.stream.unknown) == ([], [])
    assert not bench.worker.repair.doubts


def test_result_that_was_just_written_goes_out_though_nobody_can_know_of_others(bench: Bench) -> None:
    committed(bench, "a")
    bench.stream.results.append({"order_id": "z", "entry_id": "1-1"})
    lose_what_was_given_out(bench)

    bench.worker.work_through()
    bench.worker.refill()

    assert published(bench) == ["a"]


def test_letter_of_an_order_that_came_under_the_id_of_another_says_nothing_about_that_one(
    bench: Bench,
) -> None:
    (entry_id,) = bench.submit("a")
    bench.worker.lease.start()
    bench.worker.refill()
    bench.handling.handle(bench.worker.in_hand)
    held_by_nobody(bench)
    bench.stream.results.append({"order_id": "z", "entry_id": "1-1"})
    bench.stream.letters.append(("entry_id", entry_id, "reason", "conflict", "order_id", "b"))
    bench.stream.lose_marks()

    bench.worker.repair.go_on(idle=True)
    bench.worker.repair.doubts.go_on()

    assert published(bench) == ["z", "a"]


def test_what_was_found_is_looked_for_anew_when_marks_are_lost_before_it_is_settled(bench: Bench) -> None:
    """Proves that nobody is asked about a result that a walk has found, and it does not go out again."""
    entry_id = held_through_a_loss(bench, "a")
    bench.stream.results.append({"order_id": "a", "entry_id": entry_id})
    bench.worker.work_through()
    asked = iter(range(100))

    def lose_marks_after_the_walk(step: str) -> None:
        if step == "fates" and next(asked) == 1:
            bench.stream.lose_marks()

    bench.orders.faults.on_step = lose_marks_after_the_walk
    for _ in range(3):
        bench.worker.refill()

    assert next(asked) > 1
    assert (published(bench), bench.stream.unknown) == (["z", "a"], [])
    assert not bench.worker.repair.doubts


def held_by_nobody(bench: Bench) -> None:
    assert bench.stream.group is not None
    bench.stream.group.pending.clear()


def lose_what_was_given_out(bench: Bench) -> None:
    bench.stream.results.trim(len(bench.stream.results))
    bench.stream.lose_marks()


def test_marks_alone_are_asked_while_another_replica_reads_what_was_given_out(bench: Bench) -> None:
    held_through_a_loss(bench, "a")
    bench.worker.work_through()
    bench.stream.reader = ("another", bench.clock.milliseconds() + 1_000_000)

    for _ in range(5):
        bench.worker.refill()
        bench.clock.advance(1)

    assert bench.orders.faults.steps.count("fates") == 1
    assert published(bench) == ["z"]
