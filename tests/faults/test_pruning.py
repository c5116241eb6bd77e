"""Rows are pruned beside replicas, by two at once, and cut off at every step; nothing is lost or doubled."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.aging import executed_long_ago
from tests.faults.proxy import Plan, Proxy
from tests.faults.reporting import record
from tests.faults.trials import SERVERS, in_turn
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.integration.test_prune import WINDOW, audited, pruned, sql
from worker.bootstrap.pruning import pruner
from worker.cli import main
from worker.cli.moment import moment_of
from worker.cli.prune import Report, carry_out
from worker.consumer import retention
from worker.domain.orders import OrderRecord
from worker.domain.pruning import Refusal
from worker.pruning import own_turn, prune
from worker.store import OrderStore, RowsToPrune, repeats
from worker.store import orders as store_of_orders

pytestmark = [pytest.mark.usefixtures("marks_go_at_once"), pytest.mark.timeout(300)]
COUNT = 40
# Of a page that is pruned: messages to either server before and after which the connection can be cut.
LEAST = {"REDIS_URL": 2, "DATABASE_URL": 4}


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.05)
    monkeypatch.setattr(own_turn, "EVERY_S", 0.05)
    monkeypatch.setattr(prune, "TOGETHER", 4)


@pytest.fixture
def old(deployment: Deployment) -> Deployment:
    """Forty orders of ten days ago, and one of now."""
    executed_long_ago(deployment, numbered_orders(COUNT))
    return deployment


def assert_all_pruned(deployment: Deployment) -> None:
    assert sql(deployment, "SELECT sum(orders), sum(results) FROM order_prunings") == [(COUNT, COUNT)]
    assert audited(deployment)[:2] == (0, [])
    assert_invariants(deployment)


def test_two_that_prune_at_once_let_each_row_go_once(old: Deployment) -> None:
    def prune_all(_: int) -> Report:
        report = Report(moment_of(None, 86_400), dry_run=False)
        with pruner(old.settings("pruner", **WINDOW), None) as opened:
            carry_out(opened, report)
        return report

    with ThreadPoolExecutor(2) as both:
        reports = list(both.map(prune_all, range(2)))

    # What one has found gone the other has counted.
    assert sum(each.pruned for each in reports) == COUNT
    assert {reason for each in reports for reason in each.refused} <= {Refusal.CHANGED}
    assert_all_pruned(old)


def test_row_that_goes_while_its_order_comes_again_makes_it_a_new_one(
    old: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that a duplicate is never taken for an order whose row could not be stored."""
    pruning, standing = RowsToPrune(old.database, old.fleet), OrderStore._standing  # noqa: SLF001  what judges
    raced = list[int]()

    def prune_first(*asked: Any) -> Any:
        # Not of what a start rehearses.
        if not raced and asked[-1][0].order_id == "order-0":
            raced.append(pruning.remove(pruning.of_orders(["order-0"]), pruning.now()))
        return standing(*asked)

    monkeypatch.setattr(OrderStore, "_standing", prune_first)
    (again,) = old.submit(numbered_orders(1))
    with running(old) as made:
        eventually(old.all_settled)

    assert raced == [1]
    assert (made.worker.tally.filled, made.worker.tally.outages, made.worker.tally.dead) == (1, 0, 0)
    assert old.rows()["order-0"].entry_id == again


def test_row_that_goes_between_a_look_at_it_and_the_note_that_it_came_again_makes_it_a_new_one(
    old: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruning = RowsToPrune(old.database, old.fleet)

    def prune_first(connection: Any, came: Any) -> None:
        of = list(came)
        # Not of what a start rehearses.
        if of[0][0].order_id == "order-0":
            monkeypatch.setattr(store_of_orders, "note_repeated", repeats.note_repeated)
            assert pruning.remove(pruning.of_orders(["order-0"]), pruning.now()) == 1
        repeats.note_repeated(connection, of)

    monkeypatch.setattr(store_of_orders, "note_repeated", prune_first)
    (again,) = old.submit(numbered_orders(1))
    with running(old) as made:
        eventually(old.all_settled)

    assert (made.worker.tally.filled, made.worker.tally.duplicate) == (1, 0)
    assert old.rows()["order-0"].entry_id == again


def test_row_that_came_again_while_it_was_looked_at_stays(old: Deployment) -> None:
    pruning, store = RowsToPrune(old.database, old.fleet), OrderStore(old.database, old.fleet)
    candidates, until = pruning.of_orders(["order-0", "order-1"]), pruning.now()
    row: OrderRecord = old.rows()["order-0"]
    (again,) = old.submit(numbered_orders(1))
    store.record([replace(row, entry_id=again)])

    went = pruning.remove(candidates, until)

    assert (went, "order-0" in old.rows(), "order-1" in old.rows()) == (1, True, False)


def test_orders_that_come_again_while_their_rows_are_pruned_are_duplicates_or_new(old: Deployment) -> None:
    """Proves that each is one or the other, whoever comes first, and the audit is clean."""
    before = old.rows()
    with running(old, rows_keep_s=86_400, **{**WINDOW, "orders_keep_s": 86_400}) as made:
        for first in range(0, COUNT, 10):
            old.submit(numbered_orders(first + 10)[first:])
            eventually(lambda: old.pending() == 0)
        eventually(old.all_settled)
        eventually(lambda: len(_of(old, before)) == made.worker.tally.duplicate)

    tally = made.worker.tally
    assert tally.filled + tally.rejected + tally.duplicate == COUNT
    assert (tally.outages, tally.dead, tally.unexpected) == (0, 0, 0)
    assert audited(old)[:2] == (0, [])
    assert_invariants(old, tally)


def _of(deployment: Deployment, before: dict[str, OrderRecord]) -> list[str]:
    """Return the orders whose rows are those of before."""
    return [
        each
        for each, row in deployment.rows().items()
        if each != "young" and before[each].entry_id == row.entry_id
    ]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("server", SERVERS)
def test_pruning_that_is_cut_off_at_any_message_goes_on_where_it_was(
    old: Deployment, server: str, *, after: bool
) -> None:
    struck = in_turn(lambda n: cut_off(old, server, Plan(n, after)), least=LEAST[server], step=5)

    record("pruning", f"cut off from {server}", faults=struck)
    pruned(old)
    assert_all_pruned(old)


def cut_off(deployment: Deployment, server: str, plan: Plan) -> list[str]:
    """Prune behind a proxy that does what is planned; return what it struck."""
    environment = deployment.environment("pruner", **WINDOW)
    parts = urlsplit(environment[server])
    with Proxy((parts.hostname or "", parts.port or 0), SERVERS[server]) as proxy:
        account = parts.netloc.rpartition("@")[0]
        environment[server] = urlunsplit(parts._replace(netloc=f"{account}@127.0.0.1:{proxy.port}"))
        proxy.arm(plan)
        done = CliRunner(env=environment).invoke(main, ["prune", "--older-than", "1d"])
        proxy.heal()
    assert done.exit_code == 3 or not proxy.harmed or "pruned" in done.output, done.output
    return proxy.harmed
