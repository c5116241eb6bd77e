"""Each right that deploy/ gives, taken away alone, is named at once or harmless: as docs/deploy.md says.

Whoever needs the right names it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command
from tests.faults.environment.documented import Documented, Grant, rows
from tests.faults.environment.test_least_rights import BRIDGE, CHANNEL, HEARS
from tests.faults.environment.test_start import CONFIGURATION
from tests.faults.environment.trial import page
from tests.harness import eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.processes import WorkerProcess
from tests.rights import commands, patterns
from tests.skips import counts_added
from worker.cli.shell import translated

ATTEMPTS = {
    "submit": ("submit", "-"),
    "status": ("status",),
    "pending": ("pending",),
    "replay": ("replay", "--all", "--yes"),
    "show": ("show", "order-1"),
    "dead list": ("dead", "list"),
    "dead show": ("dead", "show", "LETTER"),
    "dead replay": ("dead", "replay", "LETTER", "--yes"),
    "dead discard": ("dead", "discard", "LETTER", "--yes"),
    "audit": ("audit",),
    "audit --repair": ("audit", "--repair", "--republish"),
}
EVERY_ATTEMPT = "all"
REFUSED, WORKS = "78", "works"
NOT_GIVEN = "\N{EN DASH}"
FROM_7_ON = "from 7.0 on"
LATER = f"{REFUSED} {FROM_7_ON}"
PATIENT = {"lease_ms": 3_600_000, "transaction_timeout_s": 20}


def names(said: str, right: str) -> bool:
    """Whether the last line is about this right: 6.2 knows commands by their first word."""
    return right.partition("|")[0].lower() in said.splitlines()[-1].lower().replace('"', "")


@contextmanager
def without(documented: Documented, right: str, user: str) -> Iterator[None]:
    """Take a command from a user of Redis for a while, on a server that knows no script yet."""
    documented.admit(user, without=f"+{right}", channel=True)
    documented.administrator.redis.script_flush()
    try:
        yield
    finally:
        documented.admit(user, channel=True)


@translated
def live(documented: Documented, **settings: Any) -> None:
    """Start as the worker, execute an order, and be ready."""
    administrator = documented.administrator
    administrator.redis.flushall()
    with (
        documented.entered("orders-worker", "orders_worker") as worker,
        running(worker, **CHANNEL, **settings) as made,
    ):
        administrator.submit([{**numbered_orders(1)[0], "order_id": f"order-{made.names.consumer}"}])
        eventually(administrator.all_settled)
        eventually(lambda: page(made, "/ready")[0] == 200)


def outcome(documented: Documented, right: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Start without a right, and return what comes of it."""
    try:
        live(documented)
    except SystemExit as left:
        said = capsys.readouterr().err
        return (
            REFUSED
            if left.code == CONFIGURATION and len(said.splitlines()) == 1 and names(said, right)
            else said
        )
    return WORKS


def told(column: int, head: str, later: str = REFUSED) -> dict[str, str]:
    """Return what a column of the page's table says of each right, its reasons left out."""
    cells = {cells[0]: cells[column] for cells in rows(head) if cells[column] != NOT_GIVEN}
    plain = {right: cell.partition(":")[0] for right, cell in cells.items()}
    return {right: of_this_version(cell, later) for right, cell in plain.items()}


def of_this_version(cell: str, later: str) -> str:
    """Leave out what is so from 7.0 on alone, where this is none."""
    if cell == LATER:
        return later
    return (
        re.sub(rf"(\w+) \({FROM_7_ON}\)", r"\1", cell)
        if later == REFUSED
        else re.sub(rf"\w+ \({FROM_7_ON}\), ", "", cell)
    )


@pytest.fixture
def later(migrated: Documented) -> str:
    """What comes of a right that is needed from Redis 7.0 on, where what is added is counted."""
    return REFUSED if counts_added(migrated.administrator.redis) else WORKS


def test_command_that_is_denied_to_a_replica_is_named_at_the_start_or_harmless(
    migrated: Documented, later: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for right in commands("orders-worker", channel=True):
        with without(migrated, right, "orders-worker"):
            found[right] = outcome(migrated, right, capsys)

    assert found == told(1, "Redis, without", later)


def test_command_that_is_denied_to_a_bridge_is_named_at_the_start_or_harmless(
    migrated: Documented, tmp_path: Path
) -> None:
    found = {}
    with migrated.entered("orders-bridge", "nobody") as made:
        for right in commands("orders-bridge"):
            with without(migrated, right, "orders-bridge"):
                found[right] = bridged(migrated, WorkerProcess(made, tmp_path / "log", BRIDGE), right)

    assert found == told(2, "Redis, without")


def bridged(migrated: Documented, bridge: WorkerProcess, right: str) -> str:
    redis = migrated.administrator.redis
    redis.flushall()
    try:
        eventually(lambda: HEARS in bridge.said or not bridge.is_running)
        if HEARS not in bridge.said:
            return REFUSED if bridge.wait() == CONFIGURATION and names(bridge.said, right) else bridge.said
        redis.publish("orders", json.dumps(numbered_orders(1)[0]))
        eventually(lambda: redis.xlen("orders"))
    finally:
        bridge.end()
    return WORKS


def test_keys_and_channels_that_are_denied_to_a_replica_are_named_at_the_start(
    migrated: Documented, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for rule in patterns("orders-worker", channel=True):
        migrated.admit("orders-worker", without=rule, channel=True)
        found[rule] = outcome(migrated, object_of(rule), capsys)

    assert found == told(1, "Keys and channels, without")


def test_keys_and_channels_that_are_denied_to_a_bridge_are_named_at_the_start(
    migrated: Documented, tmp_path: Path
) -> None:
    found = {}
    with migrated.entered("orders-bridge", "nobody") as made:
        for rule in patterns("orders-bridge"):
            migrated.admit("orders-bridge", without=rule)
            bridge = WorkerProcess(made, tmp_path / "log", BRIDGE)
            found[rule] = bridged(migrated, bridge, object_of(rule))

    assert found == told(2, "Keys and channels, without")


def object_of(rule: str) -> str:
    """Return the name that a rule of keys or channels is about, or what such names begin with."""
    return rule[1:].rstrip("*")


class Scene:
    """What operators find: settled orders, a missing result, a letter, a stuck order, one in no store."""

    def __init__(self, documented: Documented) -> None:
        self._documented = documented
        administrator = documented.administrator
        orders = numbered_orders(5)
        with documented.entered("orders-worker", "orders_worker") as worker, running(worker):
            administrator.submit([*orders[:2], {**orders[2], "type": "limit"}])
            eventually(administrator.all_settled)
        stuck, dropped = administrator.submit(orders[3:])
        take_and_vanish(administrator, 2)
        client = administrator.redis
        client.xack("orders", "execution", dropped)
        # Long enough to be taken, and not as long as a lease.
        client.xclaim("orders", "execution", "gone", 0, [stuck], idle=2_000_000, justid=True)
        client.xdel("order_results", administrator.entries("order_results")[0][0])
        ((self._letter, _),) = administrator.entries("orders:dead")
        dumped = {key: client.dump(key) for key in client.scan_iter()}
        self._keys = {key: value for key, value in dumped.items() if value is not None}

    def attempts(self) -> dict[str, tuple[int, str]]:
        """Run each command on the scene as it was; return its exit code and what it said."""
        return {name: self._attempt(arguments) for name, arguments in ATTEMPTS.items()}

    def _attempt(self, arguments: tuple[str, ...]) -> tuple[int, str]:
        client = self._documented.administrator.redis
        client.flushall()
        for key, value in self._keys.items():
            client.restore(key, 0, value)
        given = json.dumps({**numbered_orders(1)[0], "order_id": "more"})
        with self._documented.entered("orders-operator", "orders_operator") as operator:
            asked = [self._letter if each == "LETTER" else each for each in arguments]
            done = command(operator, *asked, given=given, **CHANNEL, **PATIENT)
        return done.exit_code, done.output


def refusing(
    attempts: Mapping[str, tuple[int, str]], as_ever: Mapping[str, tuple[int, str]], right: str
) -> str:
    """Return which commands have refused by name; all others have to end as ever."""
    refused = [name for name, (code, said) in attempts.items() if code and names_in_some_line(said, right)]
    others = {name: attempts[name] for name in attempts if name not in refused}
    assert {name: code for name, (code, _) in others.items()} == {
        name: as_ever[name][0] for name in others
    }, others
    return (EVERY_ATTEMPT if len(refused) == len(attempts) else ", ".join(refused)) or WORKS


def names_in_some_line(said: str, right: str) -> bool:
    """Whether a line that says that something may not be done is about this right."""
    denials = [line for line in said.splitlines() if "refuse" in line or "for want of" in line]
    return any(names(line, right) for line in denials)


def test_command_that_is_denied_to_an_operator_is_named_by_what_needs_it_or_harmless(
    migrated: Documented, later: str
) -> None:
    migrated.admit("orders-operator", channel=True)
    scene, found = Scene(migrated), {}
    as_ever = scene.attempts()
    for right in commands("orders-operator", channel=True):
        with without(migrated, right, "orders-operator"):
            found[right] = refusing(scene.attempts(), as_ever, right)

    assert found == told(3, "Redis, without", later)


def test_keys_and_channels_that_are_denied_to_an_operator_are_named_by_what_needs_them(
    migrated: Documented,
) -> None:
    migrated.admit("orders-operator", channel=True)
    scene, found = Scene(migrated), {}
    as_ever = scene.attempts()
    for rule in patterns("orders-operator", channel=True):
        migrated.admit("orders-operator", without=rule, channel=True)
        found[rule] = refusing(scene.attempts(), as_ever, object_of(rule))

    assert found == told(3, "Keys and channels, without")


def test_right_in_postgresql_that_a_replica_lacks_is_named_at_the_start(
    migrated: Documented, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for grant in migrated.grants("orders_worker"):
        with revoked(migrated, grant):
            found[str(grant)] = outcome(migrated, grant.object, capsys)

    assert found == told(1, "PostgreSQL, without")


def test_right_in_postgresql_that_a_migration_lacks_is_named(documented: Documented) -> None:
    found = {}
    for grant in documented.grants("orders_migrate"):
        with revoked(documented, grant), documented.entered("nobody", "orders_migrate") as made:
            done = command(made, "migrate")
            refused = done.exit_code == CONFIGURATION and names(done.stderr, grant.object)
            found[str(grant)] = REFUSED if refused else f"{done.exit_code} {done.output}"

    assert found == told(2, "PostgreSQL, without")


def test_right_in_postgresql_that_an_operator_lacks_is_named_by_what_needs_it(migrated: Documented) -> None:
    migrated.admit("orders-operator", channel=True)
    scene, found = Scene(migrated), {}
    as_ever = scene.attempts()
    for grant in migrated.grants("orders_operator"):
        with revoked(migrated, grant):
            found[str(grant)] = refusing(scene.attempts(), as_ever, grant.object)

    assert found == told(3, "PostgreSQL, without")


def test_right_in_postgresql_that_whoever_prunes_lacks_is_named(migrated: Documented) -> None:
    migrated.admit("orders-operator")
    live(migrated)
    found = {}
    for grant in migrated.grants("orders_pruner"):
        with revoked(migrated, grant), migrated.entered("orders-operator", "orders_pruner") as made:
            done = command(made, "prune", "--older-than", "1d")
            refused = done.exit_code == CONFIGURATION and names(done.stderr, grant.object)
            found[str(grant)] = REFUSED if refused else f"{done.exit_code} {done.output}"

    assert found == told(1, "To prune, without")


def test_replica_that_is_to_let_rows_go_needs_the_rights_of_whoever_prunes(
    migrated: Documented, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        live(migrated, rows_keep_s=1)
    said = capsys.readouterr().err
    migrated.sql("GRANT orders_pruner TO orders_worker")
    try:
        live(migrated, rows_keep_s=1)
    finally:
        migrated.sql("REVOKE orders_pruner FROM orders_worker")

    assert left.value.code == CONFIGURATION
    assert names(said, "trades")


@contextmanager
def revoked(documented: Documented, grant: Grant) -> Iterator[None]:
    documented.sql(f"REVOKE {grant.right} ON {grant.kind} {grant.name} FROM {grant.role}")
    try:
        yield
    finally:
        documented.sql(f"GRANT {grant.right} ON {grant.kind} {grant.name} TO {grant.role}")
