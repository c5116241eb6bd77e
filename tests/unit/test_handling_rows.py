"""Rows that the database refuses, trimmed entries, lost leases: who pays for it, and who does not."""

from collections.abc import Sequence
from math import ceil, log2

import pytest

from tests.builders import record
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Delivery, Outcome, Settled
from worker.domain.errors import Outage, Refused
from worker.domain.orders import Execution, Order, Status


def dead(outcomes: Sequence[Outcome]) -> list[Dead]:
    return [outcome for outcome in outcomes if isinstance(outcome, Dead)]


@pytest.mark.parametrize("culprit", [0, 37, 99])
def test_order_whose_row_is_refused_is_buried_alone(culprit: int) -> None:
    bench = Bench(batch_size=100)
    bench.submit(*(f"o{i}" for i in range(100)))
    bench.store.refuses = lambda row: row.order_id == f"o{culprit}" and row.status is not Status.DEAD

    outcomes = bench.handle_next()

    (buried,) = dead(outcomes)
    assert (buried.reason, buried.order_id) == ("database_rejected", f"o{culprit}")
    assert bench.rows[f"o{culprit}"].status is Status.DEAD
    assert sum(isinstance(outcome, Settled) for outcome in outcomes) == 99
    assert len(bench.rows) == 100


def test_refused_row_is_found_in_a_logarithmic_number_of_transactions() -> None:
    bench = Bench(batch_size=500)
    bench.submit(*(f"o{i}" for i in range(500)))
    bench.store.refuses = lambda row: row.order_id == "o321" and row.status is not Status.DEAD

    bench.handle_next()

    assert bench.store.faults.steps.count("record") <= 2 * ceil(log2(500)) + 2


def test_each_of_several_refused_rows_is_buried() -> None:
    bench = Bench()
    bench.submit(*(f"o{i}" for i in range(20)))
    bench.store.refuses = lambda row: row.order_id in {"o3", "o4", "o17"} and row.status is not Status.DEAD

    outcomes = bench.handle_next()

    assert {outcome.order_id for outcome in dead(outcomes)} == {"o3", "o4", "o17"}
    assert len(outcomes) == 20


def test_batch_order_survives_the_split_so_that_the_first_entry_owns_its_order() -> None:
    bench = Bench()
    first = bench.submit("a", "b", "a", "c")[0]
    bench.store.refuses = lambda row: row.order_id == "b" and row.status is not Status.DEAD

    bench.handle_next()

    assert bench.rows["a"].entry_id == first


def test_dead_row_is_made_to_fit_where_the_database_can_not_hold_what_it_says() -> None:
    bench = Bench(max_deliveries=1)
    bench.submit("a")

    def raising(_order: Order) -> Execution:
        raise ValueError("突破")

    bench.executor.instead["a"] = raising
    bench.store.refuses = lambda row: not (row.error_message or "").isascii()
    bench.store.why = "no equivalent for 突"

    (buried,) = dead(bench.handle_next())

    assert (buried.reason, buried.order_id) == ("database_rejected", "a")
    assert buried.error == r"no equivalent for \u7a81"
    assert bench.rows["a"].given_up_for == (buried.reason, buried.error)


def test_row_that_can_not_even_be_stored_as_dead_is_refused_and_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.submit("a")
    bench.store.refuses = lambda _row: True

    with pytest.raises(Refused, match="database_rejected"):
        bench.handle_next()

    assert bench.rows == {}


def test_outage_while_recording_leaves_nothing_behind_and_handling_can_be_repeated() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("record")

    with pytest.raises(Outage):
        bench.handling.handle(taken)
    (outcome,) = bench.handling.handle(taken)

    assert isinstance(outcome, Settled)


def test_unknown_commit_that_worked_is_answered_when_the_handling_is_repeated() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("record", reply_lost=True)

    with pytest.raises(Outage):
        bench.handling.handle(taken)
    (outcome,) = bench.handling.handle(taken)

    assert outcome == Settled(taken[0], bench.rows["a"], answered=True)


def test_entry_known_to_be_stolen_has_no_outcome_and_no_row() -> None:
    bench = Bench()
    bench.submit("a", "b")
    taken = bench.intake.take()
    steal(bench, taken[0].entry_id)
    bench.lease.renew()

    (outcome,) = bench.handling.handle(taken)

    assert isinstance(outcome, Settled)
    assert outcome.record.order_id == "b"
    assert bench.rows.keys() == {"b"}


def test_entry_stolen_after_it_was_executed_has_no_outcome_and_no_row() -> None:
    bench = Bench()
    bench.submit("a", "b")
    taken = bench.intake.take()

    def losing_the_one_before(_order: Order) -> Execution:
        steal(bench, taken[0].entry_id)
        bench.lease.renew()
        return Execution(Status.REJECTED)

    bench.executor.instead["b"] = losing_the_one_before

    (outcome,) = bench.handling.handle(taken)

    assert isinstance(outcome, Settled)
    assert outcome.record.order_id == "b"
    assert bench.executor.executed == ["a", "b"]
    assert bench.rows.keys() == {"b"}


def test_process_that_slept_past_its_lease_asks_before_it_records() -> None:
    bench = Bench()
    bench.submit("a", "b")
    taken = bench.intake.take()
    steal(bench, taken[0].entry_id)
    bench.clock.advance(31)

    (outcome,) = bench.handling.handle(taken)

    assert isinstance(outcome, Settled)
    assert outcome.record.order_id == "b"


def test_entry_stolen_before_its_charge_is_not_executed() -> None:
    bench = Bench()
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(31)
    taken = bench.intake.take()
    steal(bench, entry_id)

    outcomes = bench.handling.handle(taken)

    assert outcomes == []
    assert bench.executor.executed == []


def test_trimmed_entry_that_was_never_committed_is_an_incident_with_a_dead_row() -> None:
    bench = Bench()
    entry_id = trimmed_while_pending(bench)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("trimmed", f"orders:{entry_id}")
    assert bench.executor.executed == []


def test_trimmed_entry_whose_order_was_committed_is_answered() -> None:
    bench = Bench()
    entry_id = trimmed_while_pending(bench)
    bench.store.record([record("a", entry_id=entry_id)])

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, bench.rows["a"], answered=True)


def test_trimmed_entry_whose_order_a_zombie_commits_meanwhile_is_answered() -> None:
    bench = Bench()
    entry_id = trimmed_while_pending(bench)
    late = record("a", entry_id=entry_id)
    bench.store.faults.on_step = lambda step: bench.rows.update({"a": late}) if step == "record" else None

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, late, answered=True)


def steal(bench: Bench, entry_id: str) -> None:
    assert bench.stream.group is not None
    bench.stream.group.pending[entry_id].consumer = "somebody else"


def trimmed_while_pending(bench: Bench) -> str:
    """Return an entry that was trimmed under an owner who has had his time."""
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    del bench.stream.entries[entry_id]
    bench.clock.advance(31)
    bench.intake.take()
    bench.clock.advance(31)
    return entry_id


def test_trimmed_entry_is_buried_though_another_order_has_the_id_made_of_its_own() -> None:
    bench = Bench()
    (entry_id,) = bench.submit("")
    bench.submit(f"orders:{entry_id}")
    taken = bench.intake.take()
    bench.handling.handle(taken[1:])

    (outcome,) = bench.handling.handle([Delivery(entry_id, (), 0, False)])

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("trimmed", None)
    assert [row.status for row in bench.rows.values()] == [Status.FILLED]
