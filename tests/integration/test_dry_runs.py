"""`--dry-run` changes nothing at all, whatever stands beside it; the same command without it does."""

from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import inspect, text

from tests.acceptance.test_dead_letters import bury
from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running

LINE = '{"symbol": "A", "side": "BUY", "quantity": "1"}\n'
COMMANDS = [
    ("dead", "replay", "--all", "--yes"),
    ("dead", "replay", "--all", "--yes", "--json"),
    ("dead", "replay", "--reason", "failed", "--yes", "--set", "quantity=2", "--fresh"),
    ("dead", "replay", "--since", "1h", "--limit", "1", "--yes", "--json", "--fresh"),
    ("dead", "discard", "--all", "--yes"),
    ("dead", "discard", "--reason", "failed", "--yes", "--json"),
    ("replay", "--all", "--yes"),
    ("replay", "--all", "--yes", "--json"),
    ("replay", "--consumer", "gone", "--idle", "60", "--limit", "1", "--yes", "--json"),
    ("audit", "--repair"),
    ("audit", "--repair", "--json"),
    ("audit", "--repair", "--republish"),
    ("audit", "--repair", "--republish", "--json", "--since", "1h"),
    ("submit", "-"),
    ("submit", "-", "--json"),
]


@pytest.fixture
def scene(deployment: Deployment) -> Deployment:
    """Something for each command to change: an open letter, a lost result or mark, an abandoned entry."""
    deployment.submit(numbered_orders(3))
    with running(deployment):
        eventually(deployment.all_settled)
    first = deployment.entries(deployment.results)[0][0]
    deployment.redis.xdel(deployment.results, first)
    lost = deployment.entries(deployment.orders)[1][0]
    for key in deployment.mark_keys:
        deployment.redis.zrem(key, lost)
    deployment.redis.xgroup_destroy(deployment.orders, deployment.group)
    bury(deployment, [{**numbered_orders(4)[3]}])
    deployment.submit(numbered_orders(6)[4:])
    take_and_vanish(deployment, 2)
    pending: list[Any] = deployment.accepted[-2:]
    deployment.redis.xclaim(
        deployment.orders, deployment.group, "gone", 0, pending, idle=700_000, justid=True
    )
    return deployment


def everything(deployment: Deployment) -> dict[str, Any]:
    """Every key as Redis would save it, but those that go by themselves (replicas' turns), and every row."""
    keys = deployment.all_keys()
    keys = [key for key in keys if deployment.redis.ttl(key) == -1]
    found: dict[str, Any] = {key.decode(): deployment.redis.dump(key) for key in keys}
    with deployment.database.transaction() as connection:
        for table in inspect(connection).get_table_names():
            asked = f'SELECT * FROM "{table}" ORDER BY 1'  # noqa: S608  the catalog's names
            found[table] = [tuple(row) for row in connection.execute(text(asked))]
    return found


def run(scene: Deployment, arguments: Sequence[str]) -> Result:
    """Run a command, under a lease so long that nothing pending is claimable yet."""
    given = LINE if arguments[0] == "submit" else None
    return command(scene, *arguments, given=given, lease_ms=1_000_000)


def test_dry_run_changes_nothing_whatever_stands_beside_it(scene: Deployment) -> None:
    before = everything(scene)

    for arguments in COMMANDS:
        dry = run(scene, [*arguments, "--dry-run"])

        assert dry.stdout
        assert everything(scene) == before, arguments


@pytest.mark.parametrize("arguments", [each for each in COMMANDS if "--json" not in each], ids=" ".join)
def test_the_same_commands_change_something_when_they_are_not_run_dry(
    scene: Deployment, arguments: tuple[str, ...]
) -> None:
    before = everything(scene)

    run(scene, arguments)

    assert everything(scene) != before


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_migration_that_is_run_dry_makes_no_table(empty_database: Deployment, more: tuple[str, ...]) -> None:
    done = command(empty_database, "migrate", "--dry-run", *more)

    assert (done.exit_code, "behind" in done.stdout) == (0, True)
    assert everything(empty_database) == {}
