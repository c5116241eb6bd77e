"""The benchmark's arithmetic, and that it takes no figure from a run that went wrong."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice, pairwise, permutations
from pathlib import Path
from typing import Any

import pytest

from benchmarks import checks, cost, gate, report
from benchmarks.__main__ import hold_against_floors, main
from benchmarks.arena import file_system
from benchmarks.console import exit_code, wide_console
from benchmarks.contest import Case, Standing, compared, hold
from benchmarks.designs import BY_HAND, DESIGNS, WORKER, limit, without
from benchmarks.designs.paper import result_fields
from benchmarks.designs.reference import array_literal
from benchmarks.errors import NoFigure
from benchmarks.figures import Spread, balanced, percentile, ratio
from benchmarks.load import NO_ORDER, Load
from benchmarks.measure import Measured, Used
from benchmarks.profiling import costs, statements
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.limits import GUARANTEES
from benchmarks.scenarios.sizes import Sizes
from worker.bootstrap import replica
from worker.store.fidelity import Fidelity
from worker.stream import orders
from worker.wire import flat

RIGHT = checks.Found(
    rows=100,
    filled=95,
    trades=95,
    results=100,
    orders_with_result=100,
    letters=0,
    pending=0,
    unread=False,
)


def _measured(rate: float) -> Measured:
    return Measured(entries=1000, seconds=1000 / rate, used=Used(0.02, 0.01, 0.03, 60))


@pytest.mark.parametrize("count", range(1, 15))
def test_no_place_and_no_predecessor_favours_a_case(count: int) -> None:
    orders = [balanced(range(count), turn) for turn in range(2 * count)]
    followers = Counter(pair for order in orders for pair in pairwise(order))

    for places in (zip(*orders[:count], strict=True), zip(*orders[count:], strict=True)):
        assert all(sorted(each) == list(range(count)) for each in places)
    assert followers == dict.fromkeys(permutations(range(count), 2), 2)


def test_nothing_has_an_order() -> None:
    assert balanced([], 3) == []


def test_ratio_is_of_the_medians_and_its_range_of_the_rounds() -> None:
    share = ratio({0: 50, 1: 80, 2: 60}, {0: 100, 1: 100, 2: 80})

    assert share == Spread(0.6, 0.5, 0.8)


def test_ratio_leaves_out_rounds_that_only_one_of_both_has() -> None:
    assert ratio({0: 50, 1: 999}, {0: 100}) == Spread(0.5, 0.5, 0.5)
    assert ratio({1: 50}, {0: 100}) is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)])
def test_percentile_is_one_of_the_figures(share: float, expected: float) -> None:
    assert percentile(range(1, 1001), share) == expected


def test_percentile_of_few_figures_is_the_worst_of_them() -> None:
    assert percentile([1, 2, 30], 0.999) == 30
    assert percentile([7], 0.5) == 7


def test_run_that_left_what_it_must_has_no_faults() -> None:
    assert checks.faults(checks.Wanted(orders=100, results=100), RIGHT) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 99},
        {"trades": 94},
        {"filled": 96},
        {"results": 101},
        {"results": 99},
        {"orders_with_result": 99},
        {"letters": 1},
        {"pending": 1},
        {"unread": True},
    ],
)
def test_check_refuses_a_run_that_left_anything_else(wrong: dict[str, Any]) -> None:
    found = replace(RIGHT, **wrong)

    assert len(checks.faults(checks.Wanted(orders=100, results=100), found)) == 1


def test_warm_up_is_counted_besides() -> None:
    wanted = checks.Wanted(orders=80, results=85, letters=3).besides(20)

    assert wanted == checks.Wanted(orders=100, results=105, letters=3)


def test_load_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (list(Load(orders=500, seed=seed)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert len({order["order_id"] for order in first + other}) == 1000


def test_load_repeats_orders_and_mixes_in_junk_as_often_as_asked() -> None:
    load = Load(orders=100, seed=1, repeat_every=20, junk_every=20)
    entries = list(load)

    orders = [entry for entry in entries if entry != NO_ORDER]
    assert len(entries) == load.entries == 110
    assert len(entries) - len(orders) == load.junk == 5
    assert len({order["order_id"] for order in orders}) == 100
    assert load.wanted(repeats_answered=True, junk_buried=False) == checks.Wanted(orders=100, results=105)
    assert load.wanted(repeats_answered=False, junk_buried=True) == checks.Wanted(
        orders=100, results=100, letters=5
    )


def test_long_load_is_made_as_it_is_taken() -> None:
    assert len(list(islice(Load(orders=10**9, seed=1), 3))) == 3


def test_cases_take_turns_and_failure_names_case_and_round() -> None:
    taken = []

    def run(name: str) -> Case:
        def measure(turn: int) -> Measured:
            taken.append(name)
            if name == "b" and turn == 1:
                raise NoFigure("pending entries: 1 instead of 0")
            return _measured(100)

        return Case(name=name, against="a", run=measure)

    with pytest.raises(NoFigure, match=r"^b, round 2: pending entries"):
        hold([run("a"), run("b")], 3, lambda _: None)

    assert taken == ["a", "b", "b"]


def test_limit_packs_the_same_results_as_all_designs() -> None:
    sample = next(iter(Load(orders=1, seed=1)))
    raw = tuple(part.encode() for pair in sample.items() for part in pair)
    entry_id, order, made = limit.executed((b"1-1", raw))
    at = datetime(2026, 1, 2, tzinfo=UTC)

    fields = limit.result((entry_id, order, made), str(int(at.timestamp())))

    assert fields == list(chain.from_iterable(result_fields(order, "1-1", made, at).items()))
    assert limit.packed("XADD", "é") == b"*2\r\n$4\r\nXADD\r\n$2\r\n\xc3\xa9\r\n"


def test_repeats_are_of_as_many_orders_before_as_was_asked_for() -> None:
    def furthest(within: int) -> int:
        ids = [
            order["order_id"] for order in Load(orders=2000, seed=1, repeat_every=20, repeat_within=within)
        ]
        return max(place - ids.index(order_id) for place, order_id in enumerate(ids))

    assert furthest(10) <= 11
    assert furthest(2000) > 1000


def test_what_a_guarantee_is_left_out_of_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[Any, str]] = [
        (orders, "source"),
        (replica, "Lease"),
        (flat, "digest_of"),
        (Fidelity, "guard"),
    ]
    before = [vars(place)[name] for place, name in places]
    for (place, name), found in zip(places, before, strict=True):
        monkeypatch.setattr(place, name, found)

    for leave_out in without.LEFT_OUT.values():
        leave_out()

    assert not any(vars(place)[name] is found for (place, name), found in zip(places, before, strict=True))
    assert {patch for each in GUARANTEES for patch in each.patches} == without.LEFT_OUT.keys()


def test_noise_floor_is_the_reference_against_itself() -> None:
    standings = []
    for name, rates in (("reference w=1", (100, 200)), ("reference again w=1", (110, 190))):
        case = Case(name=name, against="reference w=1", run=lambda _: _measured(1))
        standings.append(Standing(case, {turn: _measured(rate) for turn, rate in enumerate(rates)}))

    share = compared(standings[1], standings)

    assert share is not None
    assert (share.median, share.least, share.most) == pytest.approx((1.0, 0.95, 1.1))
    assert "w=1 1.00 (0.95..1.10)" in str(report.noise(standings))


def _standing(name: str, against: str, *rates: float) -> Standing:
    case = Case(name=name, against=against, run=lambda _: _measured(1))
    return Standing(case, {turn: _measured(rate) for turn, rate in enumerate(rates)})


@pytest.mark.parametrize(
    ("rate", "again", "fallen"), [(94, 100, True), (96, 100, False), (85, 80, False), (79, 80, True)]
)
def test_ratio_has_fallen_where_it_is_below_by_more_than_a_design_differs_from_itself(
    rate: float, again: float, *, fallen: bool
) -> None:
    tables = {
        "designs": [
            _standing("reference", "reference", 100),
            _standing("reference again", "reference", again),
            _standing("worker", "reference", rate),
        ]
    }

    assert [each.fallen for each in gate.held(tables, {"designs": {"worker": 1.0, "other": 2.0}})] == [fallen]


def test_ratio_that_a_round_has_come_up_to_has_not_fallen() -> None:
    tables = {"a": [_standing("base", "base", 100, 100, 100), _standing("worker", "base", 70, 80, 101)]}

    assert [each.fallen for each in gate.held(tables, {"a": {"worker": 1.0}})] == [False]


def test_run_whose_noise_is_too_much_is_no_figure() -> None:
    tables = {"a": [_standing("base", "base", 100), _standing("base again", "base", 60)]}

    with pytest.raises(NoFigure, match="from itself"):
        list(gate.held(tables, {}))


def test_floors_are_of_scenarios_that_there_are() -> None:
    assert gate.floors().keys() <= SCENARIOS.keys()


def test_gate_that_holds_nothing_against_anything_is_no_figure() -> None:
    with pytest.raises(NoFigure, match="No ratio"):
        hold_against_floors({}, wide_console())


def test_fallen_ratio_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    tables = {"designs": [_standing("reference w=1", "", 100), _standing("worker w=1", "reference w=1", 50)]}

    assert exit_code(wide_console(), lambda: hold_against_floors(tables, wide_console())) == 1

    assert "worker w=1: 0.50, below 1.15" in capsys.readouterr().out


def test_cpu_is_told_by_entry_and_process() -> None:
    standing = Standing(Case(name="a", run=lambda _: _measured(1)), {0: _measured(100)})

    assert standing.cpu_us == pytest.approx((20, 10, 30))
    assert standing.rate.median == pytest.approx(100)


def test_family_of_a_process_goes_down_to_its_grandchildren() -> None:
    table = {pid: cost.Use(parent, 1.0) for pid, parent in ((1, 0), (5, 1), (6, 5), (7, 6), (8, 1))}

    assert cost.family(5, table) == [5, 6, 7]
    assert cost.family(99, table) == []


def test_cpu_of_ended_children_counts_and_brackets_in_a_name_do_no_harm() -> None:
    ticks = [100, 20, 30, 4]
    fields = ["S", "42", *["0"] * 9, *map(str, ticks), "20"]

    use = cost.parse_stat(f"17 (a) b (c)) {' '.join(fields)}")

    assert use == cost.Use(42, sum(ticks) / cost.TICKS_PER_S)


def test_folder_in_memory_is_known_by_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"tmpfs {tmp_path} tmpfs rw 0 0\nx {tmp_path}more xfs rw 0 0\n/dev/vda / ext4 rw 0 0\n")

    assert file_system(tmp_path / "deeper", mounts) == "tmpfs"
    assert file_system(Path("/"), mounts) == "ext4"


@pytest.mark.parametrize(
    ("values", "literal"),
    [
        (["a b", None, "c,{d}"], '{"a b",null,"c,{d}"}'),
        (['say "x"', "back\\slash", "two\nlines"], '{"say \\"x\\"","back\\\\slash","two\nlines"}'),
    ],
)
def test_reference_writes_arrays_that_postgresql_reads_back(values: list[str | None], literal: str) -> None:
    assert array_literal(values) == literal


def test_scenarios_are_listed_without_any_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SCENARIOS)


def test_cost_is_charged_to_the_innermost_of_our_functions() -> None:
    stacks = [
        "run (worker/loop.py:7);settle (worker/stream/orders.py:9);send (redis/client.py:3) 5",
        "run (worker/loop.py:8);settle (worker/stream/orders.py:11) 2",
        "run (worker/loop.py:9) 1",
        "wait (threading.py:331) 4",
    ]

    assert costs(stacks) == {
        "settle (worker/stream/orders.py)": 7,
        "run (worker/loop.py)": 1,
        "none of ours": 4,
    }


def test_statement_takes_what_all_its_steps_take() -> None:
    log = [
        "LOG:  duration: 0.250 ms  parse _pg3_0: INSERT INTO orders",
        "LOG:  duration: 0.500 ms  bind _pg3_0: INSERT INTO orders",
        "LOG:  duration: 4.000 ms  execute _pg3_0: INSERT INTO orders",
        "LOG:  duration: 1.000 ms  statement: COMMIT",
        "LOG:  checkpoint starting: time",
    ]

    assert statements(log) == {"INSERT INTO orders": 4.75, "COMMIT": 1.0}


def test_scenarios_compare_those_of_the_pair_that_were_asked_for() -> None:
    assert Sizes().pair == [WORKER, BY_HAND]
    assert Sizes(designs=[BY_HAND]).pair == [BY_HAND]
    with pytest.raises(NoFigure, match="worker and reference alone"):
        _ = Sizes(designs=[each for each in DESIGNS if each not in (WORKER, BY_HAND)]).pair
