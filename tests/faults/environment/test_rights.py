"""Each right that is missing, one at a time: noticed at the start, by name, or nobody needs it."""

import re
from importlib.resources import files

import pytest

from tests.faults.environment.site import Site
from tests.faults.environment.test_start import CONFIGURATION, start
from tests.harness import numbered_orders
from tests.inprocess import running
from tests.processes import free_port
from tests.skips import Reason, skip
from worker.bootstrap.replica import replica

TABLES = ("orders", "trades", "order_sources", "orders_worker_version")
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
# Rows are never deleted, trades never changed, and the version is written by `worker migrate` alone.
NOT_NEEDED = {
    ("orders", "DELETE"), ("trades", "UPDATE"), ("trades", "DELETE"),
    ("orders_worker_version", "INSERT"), ("orders_worker_version", "UPDATE"), ("orders_worker_version", "DELETE"),
}  # fmt: skip

SCRIPTS = [
    each.read_text(encoding="utf-8")
    for each in files("worker.stream.scripts").iterdir()
    if each.name.endswith(".lua")
]
COMMANDS = sorted(
    {command for script in SCRIPTS for command in re.findall(r"redis\.p?call\('([A-Z]+)'", script)}
)

# People replay letters; a replica publishes on a channel only where one is set.
NOT_OF_REPLICAS = {"HDEL", "PUBLISH"}
COUNT_WHAT_WAS_LOST = {"HGET", "HINCRBY"}


def counts_what_was_added(site: Site) -> bool:
    site.deployment.redis.xadd("counts", {"a": "b"})
    counts = "entries-added" in site.deployment.redis.xinfo_stream("counts")
    site.deployment.redis.delete("counts")
    return counts


@pytest.mark.parametrize(("table", "right"), [(table, right) for table in TABLES for right in RIGHTS])
def test_right_that_is_missing_in_postgresql_is_named_at_the_start_unless_nobody_needs_it(
    site: Site, table: str, right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.sql(f"REVOKE {right} ON {table} FROM {site.name}")
    environment = site.workers.environment(health_port=free_port())

    if (table, right) in NOT_NEEDED:
        with running(site.workers):
            pass
        return
    with pytest.raises(SystemExit) as left:
        start(environment)

    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == CONFIGURATION
    assert line.startswith("worker: DATABASE_URL: access refused: ")
    assert f"for table {table}" in line


def test_rehearsal_leaves_nothing_behind(site: Site) -> None:
    counts = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM trades)"

    with replica(site.workers.settings(health_port=free_port())):
        (rows,) = site.sql(counts)
        keys = {key.decode() for key in site.deployment.redis.scan_iter()}

    assert rows == (0, 0)
    assert not [key for key in keys if ":probe:" in key]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in NOT_OF_REPLICAS])
def test_command_of_a_script_that_is_denied_is_noticed_at_the_start(
    site: Site, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if command in COUNT_WHAT_WAS_LOST and not counts_what_was_added(site):
        skip(Reason.COUNTS_NOTHING_ADDED)
    site.acl(f"-{command.lower()}")

    with pytest.raises(SystemExit) as left:
        start(site.workers.environment(health_port=free_port()))

    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == CONFIGURATION
    assert line.startswith("worker: REDIS_URL: access refused: ")


@pytest.mark.parametrize("command", ["info", "config"])
def test_command_that_only_tells_of_the_server_is_not_needed(site: Site, command: str) -> None:
    site.acl(f"-{command}")
    site.deployment.submit(numbered_orders(1))

    with running(site.workers) as made:
        made.checks.ask("redis")
        finding = made.checks.finding("redis")

    assert (finding.connected, finding.error) == (True, None)
    if command == "info":
        assert finding.details["version"] == "not known"
