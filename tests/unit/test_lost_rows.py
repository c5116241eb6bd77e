"""Rows PostgreSQL lost though their results were published: told once for the fleet, until they are back."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from msgspec.structs import replace

from tests.builders import record
from tests.fakes import Bench
from tests.repair_fakes import FakeEvidence, FakeLostRows
from worker.domain.orders import OrderRecord
from worker.wire import result_fields

ORDERS = tuple(f"order-{number}" for number in range(6))


@pytest.fixture
def bench() -> Bench:
    """A replica that has looked once, beside six orders that were executed a minute apart."""
    made = Bench()
    for order_id in ORDERS:
        made.clock.advance(60)
        execute(made, order_id)
    made.look.go_on(idle=True)
    assert len(made.stream.results) == len(ORDERS)
    return made


def execute(bench: Bench, order_id: str) -> str:
    """Let another replica execute an order, and return its entry."""
    other = Bench(bench.stream, bench.store.table, consumer="another")
    (entry_id,) = other.submit(order_id)
    other.run_until(lambda: other.done)
    return entry_id


def lose(bench: Bench, *order_ids: str) -> dict[str, OrderRecord]:
    """PostgreSQL is another server now, which lacks these rows."""
    bench.looked_through.connections += 1
    return {each: bench.rows.pop(each) for each in order_ids}


def look(bench: Bench) -> None:
    bench.clock.advance(10)
    bench.look.go_on(idle=True)


def told(bench: Bench) -> list[str]:
    return sorted(order_id for _, order_id in bench.lost_rows.noted)


@contextmanager
def logged(event: str) -> Iterator[list[int]]:
    """Collect how many orders lines of this event name."""
    numbers: list[int] = []
    with structlog.testing.capture_logs() as lines:
        yield numbers
    numbers += [line["orders"] for line in lines if event in line["event"]]


def test_nothing_is_told_while_every_result_has_its_row(bench: Bench) -> None:
    lose(bench)

    look(bench)

    assert told(bench) == []


def test_the_newest_rows_are_told_once_when_a_standby_lacks_them(bench: Bench) -> None:
    """Proves that the number is logged, and no second time by a replica that looks again."""
    lose(bench, *ORDERS[3:])

    with logged("lost rows") as numbers:
        look(bench)
        lose(bench)
        look(bench)

    assert told(bench) == list(ORDERS[3:])
    assert numbers == [3]


def test_all_rows_are_told_when_none_is_left(bench: Bench) -> None:
    """Proves it though orders have gone on before anybody looked."""
    lose(bench, *ORDERS)
    execute(bench, "later")

    look(bench)

    assert told(bench) == list(ORDERS)


def test_rows_that_were_deleted_for_their_age_are_not_told(bench: Bench) -> None:
    lose(bench, *ORDERS[:3])

    look(bench)

    assert told(bench) == []


def test_nothing_is_looked_at_while_the_connection_is_the_same(bench: Bench) -> None:
    lose(bench, ORDERS[-1])
    bench.looked_through.connections -= 1

    look(bench)

    assert told(bench) == []


def test_replica_looks_at_its_start(bench: Bench) -> None:
    lose(bench, ORDERS[-1])
    second = Bench(bench.stream, bench.store.table, consumer="worker-2", lost_rows=bench.lost_rows)

    second.run_until(lambda: told(second))

    assert told(second) == [ORDERS[-1]]


def test_window_ends_before_the_outage_however_long_that_lasted(bench: Bench) -> None:
    """Proves that results of the window before it are looked at, and none of before."""
    short = Bench(bench.stream, bench.store.table, repair_window_s=90)
    look(short)
    lose(short, ORDERS[3], ORDERS[5])
    bench.clock.advance(3600)

    look(short)

    assert told(short) == [ORDERS[5]]


def test_rows_are_taken_back_when_they_are_there_again(bench: Bench) -> None:
    lost = lose(bench, *ORDERS[3:])
    look(bench)
    bench.rows.update({each: lost[each] for each in ORDERS[4:]})

    with logged("there again") as numbers:
        look(bench)
        look(bench)

    assert told(bench) == [ORDERS[3]]
    assert numbers == [2]


def test_row_of_a_second_execution_under_another_entry_takes_nothing_back(bench: Bench) -> None:
    """Proves that an order sent again before the repair stays for a person: it was executed twice."""
    lost = lose(bench, ORDERS[-1])
    look(bench)
    bench.rows[ORDERS[-1]] = replace(lost[ORDERS[-1]], entry_id="99999999999999-0")

    look(bench)

    assert told(bench) == [ORDERS[-1]]


def test_rows_that_a_person_has_accepted_are_not_told_again(bench: Bench) -> None:
    lose(bench, *ORDERS[4:])
    look(bench)
    bench.lost_rows.accepted = set(bench.lost_rows.noted)
    bench.lost_rows.noted.clear()
    lose(bench, ORDERS[3])

    look(bench)

    assert told(bench) == [ORDERS[3]]


def test_lost_row_is_told_whose_entry_has_left_the_stream(bench: Bench) -> None:
    lost = lose(bench, ORDERS[-1])
    del bench.stream.entries[lost[ORDERS[-1]].entry_id]

    look(bench)

    assert told(bench) == [ORDERS[-1]]


@pytest.mark.parametrize(("alone", "lost_rows"), [(True, [ORDERS[-1]]), (False, [])])
def test_lost_row_is_told_whose_mark_was_dropped_where_no_other_source_was_seen(
    bench: Bench, *, alone: bool, lost_rows: list[str]
) -> None:
    lost = lose(bench, ORDERS[-1])
    entry_id = lost[ORDERS[-1]].entry_id
    del bench.stream.entries[entry_id]
    bench.stream.settled.discard(entry_id)
    bench.stream.horizon_ms = int(entry_id.partition("-")[0]) + 1
    bench.store.table.alone = alone

    look(bench)

    assert told(bench) == lost_rows


def test_row_of_another_order_is_not_that_of_the_result(bench: Bench) -> None:
    """Proves it for an id that another entry had before, whose order is told though its entry has a row."""
    lost = lose(bench, ORDERS[-1])[ORDERS[-1]]
    bench.rows["other"] = replace(lost, order_id="other")
    del bench.stream.entries[lost.entry_id]

    look(bench)

    assert told(bench) == [ORDERS[-1]]


def test_lost_row_is_told_whose_mark_is_lost_as_long_as_its_entry_is_there(bench: Bench) -> None:
    lost = lose(bench, ORDERS[-1])
    bench.stream.settled.discard(lost[ORDERS[-1]].entry_id)

    look(bench)

    assert told(bench) == [ORDERS[-1]]


def test_result_of_another_fleet_is_none_of_ours(bench: Bench) -> None:
    """Proves it for an entry we never had, one of ours with another order, and an order of another source."""
    ours, known = execute(bench, "ours"), execute(bench, "known")
    for entry_id, order_id in (("7-7", "theirs"), (ours, "other"), (known, "known")):
        bench.stream.results.append(_pairs(record(order_id, entry_id=entry_id)))
    lose(bench)
    bench.store.table.sources["known"] = "theirs"

    look(bench)

    assert told(bench) == []


def test_what_anybody_has_written_to_the_results_costs_nothing(bench: Bench) -> None:
    bench.stream.results.append({"hello": "world"})
    lose(bench, ORDERS[-1])

    look(bench)

    assert told(bench) == [ORDERS[-1]]


def test_second_replica_does_not_look_at_what_a_first_has_looked_at(bench: Bench) -> None:
    second = Bench(bench.stream, bench.store.table, consumer="worker-2", lost_rows=bench.lost_rows)
    look(second)
    lose(bench)
    bench.lost_rows.rounds.turn = "worker-1"
    second.looked_through.connections += 1
    second.look.go_on(idle=True)
    bench.look.go_on(idle=True)

    look(second)

    assert bench.lost_rows.rounds.begun == 3
    assert bench.lost_rows.rounds.turn is None


def test_look_is_begun_by_another_replica_where_the_first_has_not_ended_it(bench: Bench) -> None:
    second = Bench(bench.stream, bench.store.table, consumer="worker-2", lost_rows=bench.lost_rows)
    lose(bench, ORDERS[-1])
    bench.lost_rows.rounds.turn, bench.lost_rows.rounds.begun = "worker-1", bench.lost_rows.rounds.begun + 1
    second.look.go_on(idle=True)
    assert told(bench) == []
    bench.lost_rows.rounds.turn = None

    look(second)

    assert told(bench) == [ORDERS[-1]]


def test_look_is_left_to_others_by_a_replica_that_leaves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEvidence, "page", 2)
    lose(bench, *ORDERS[1:])
    bench.clock.advance(10)
    bench.look.go_on(idle=False)
    assert bench.lost_rows.rounds.turn == "worker-1"

    bench.worker.hand_back()

    assert bench.lost_rows.rounds.turn is None


def test_busy_replica_looks_at_one_page_between_two_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEvidence, "page", 2)
    lose(bench, *ORDERS[1:])
    bench.clock.advance(10)

    seen = []
    for _ in range(3):
        bench.look.go_on(idle=False)
        seen.append(len(told(bench)))

    assert seen == [1, 3, 5]


def test_number_that_is_logged_is_whole_when_a_look_is_begun_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEvidence, "page", 2)
    lose(bench, *ORDERS[1:])
    bench.clock.advance(10)

    with logged("lost rows") as numbers:
        bench.look.go_on(idle=False)
        lose(bench)
        look(bench)

    assert numbers == [5]


def test_rows_of_many_pages_are_taken_back_in_one_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEvidence, "page", 2)
    lost = lose(bench, *ORDERS[1:])
    look(bench)
    assert told(bench) == list(ORDERS[1:])
    bench.rows.update(lost)

    look(bench)

    assert told(bench) == []


def test_no_window_asks_nothing() -> None:
    bench = Bench(repair_window_s=0, lost_rows=FakeLostRows())

    look(bench)

    assert bench.lost_rows.rounds.begun == 0


def _pairs(row: OrderRecord) -> dict[str, str]:
    fields = result_fields(row)
    return dict(zip(fields[::2], fields[1::2], strict=True))
