"""Commands that count on all rows are refused where some may be hidden from their role; status says so."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.commands import command
from tests.harness import Deployment, Servers, eventually, numbered_orders
from tests.inprocess import running
from tests.least import Roles, entered_with_least_rights

# A pooler lets in owners, from whom nothing is hidden.
pytestmark = pytest.mark.past_the_pooler
CODE_OF_ACCESS = 78
HIDING = {
    "row-level security of orders": "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
    "row-level security of trades": "ALTER TABLE trades ENABLE ROW LEVEL SECURITY",
    "row-level security of orders_worker_version": (
        "ALTER TABLE orders_worker_version ENABLE ROW LEVEL SECURITY"
    ),
    "view orders": (
        "ALTER TABLE orders RENAME TO of_old; GRANT SELECT ON of_old TO PUBLIC;"
        "CREATE VIEW orders AS SELECT * FROM of_old WHERE status = 'FILLED'; GRANT ALL ON orders TO PUBLIC"
    ),
}
OLD = ("--older-than", "1d")
COMMANDS = [
    ["audit"], ["audit", "--repair"], ["show", "order-0"], ["prune", *OLD, "--dry-run"], ["export", *OLD],
]  # fmt: skip


@pytest.fixture
def filled(deployment: Deployment, servers: Servers) -> Iterator[tuple[Deployment, Roles]]:
    """Orders that were executed, and roles of which none owns a table."""
    with entered_with_least_rights(deployment, servers) as roles:
        deployment.submit(numbered_orders(3))
        with running(deployment):
            eventually(deployment.all_settled)
        yield deployment, roles


def make(deployment: Deployment, statements: str) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda each: each[0])
@pytest.mark.parametrize(("by", "made"), HIDING.items(), ids=HIDING)
def test_command_is_refused_where_rows_may_be_hidden_from_its_role(
    filled: tuple[Deployment, Roles], tmp_path: Path, by: str, made: str, arguments: list[str]
) -> None:
    deployment, _ = filled
    make(deployment, made)
    where = [str(tmp_path / "rows")] if arguments[0] == "export" else []

    said = command(deployment, *arguments, *where)

    assert said.exit_code == CODE_OF_ACCESS
    (line,) = (each for each in said.stderr.splitlines() if "access refused" in each)
    assert "rows may be hidden from " in line
    assert by in line
    assert not list(tmp_path.glob("rows/*"))


@pytest.mark.parametrize("by", [each for each in HIDING if "version" not in each])
def test_status_says_that_rows_may_be_hidden_from_the_role_that_asks(
    filled: tuple[Deployment, Roles], by: str
) -> None:
    deployment, _ = filled
    make(deployment, HIDING[by])

    said = command(deployment, "status", "--json")
    shown = json.loads(said.stdout)

    assert said.exit_code == 1
    assert shown["verdict"]["sentence"].startswith(f"Needs you: Rows may be hidden from us by {by}")
    assert shown["database"]["may_hide_rows"] == [by]


def test_policies_that_let_a_role_have_all_rows_hide_none(filled: tuple[Deployment, Roles]) -> None:
    deployment, roles = filled
    for table in ("orders", "trades"):
        for role in ("orders_worker", "orders_operator", "orders_pruner"):
            make(deployment, f"CREATE POLICY {role} ON {table} TO {roles.name(role)} USING (true)")
        make(deployment, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")

    assert "hidden" not in command(deployment, "status").stdout
    assert command(deployment, "audit").exit_code == 0
    assert command(deployment, "prune", "--older-than", "1d").exit_code == 0
    deployment.submit(numbered_orders(5)[3:])
    with running(deployment):
        eventually(deployment.all_settled)


@pytest.mark.parametrize("lets", ["SELECT", "SELECT; UPDATE"])
def test_pruning_is_refused_where_rows_may_be_kept_from_going(
    filled: tuple[Deployment, Roles], lets: str
) -> None:
    deployment, roles = filled
    for right in lets.split("; "):
        make(
            deployment,
            f"CREATE POLICY p{right} ON orders FOR {right} TO {roles.name('orders_pruner')} USING (true)",
        )
    make(deployment, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY")

    said = command(deployment, "prune", "--older-than", "1d")

    assert (said.exit_code, "row-level security of orders" in said.stderr) == (CODE_OF_ACCESS, True)


@pytest.mark.parametrize(
    "policy",
    ["USING (status = 'FILLED')", "AS RESTRICTIVE USING (status = 'FILLED')", "TO CURRENT_USER USING (true)"],
)
def test_policy_that_may_leave_rows_out_is_told(filled: tuple[Deployment, Roles], policy: str) -> None:
    deployment, _ = filled
    everything = "CREATE POLICY everything ON orders USING (true);" if "RESTRICTIVE" in policy else ""
    make(deployment, f"{everything} CREATE POLICY w ON orders {policy}")
    make(deployment, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY")

    assert command(deployment, "audit").exit_code == CODE_OF_ACCESS


def test_start_is_refused_where_a_view_stands_for_a_table(filled: tuple[Deployment, Roles]) -> None:
    deployment, _ = filled
    make(deployment, HIDING["view orders"])

    said = command(deployment, "run")

    assert said.exit_code == CODE_OF_ACCESS
    assert "view orders" in said.stderr
