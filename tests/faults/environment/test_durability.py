"""Servers that may lose what they acknowledged: the log, `status` and /status say so, and nobody leaves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from local import LocalPostgres
from tests.commands import command
from tests.faults.environment.site import Site
from tests.faults.environment.trial import page
from tests.harness import Deployment, Servers, eventually, numbered_orders
from tests.inprocess import running, seen
from worker.bootstrap.commands import migrate
from worker.bootstrap.replica import Replica

TOLD = {
    "redis": "redis may lose what it has acknowledged",
    "database": "postgresql may lose what it has committed",
}


class Unsynced(LocalPostgres):
    """Does not wait for the disk."""

    def _server_argv(self, *args: Any) -> list[str]:
        # Of two values for one setting the last counts.
        return [*super()._server_argv(*args), "-c", "fsync=off"]


@pytest.fixture
def without_fsync(site: Site, tmp_path: Path) -> Iterator[Deployment]:
    """A PostgreSQL that does not wait for the disk."""
    server = Unsynced(tmp_path / "unsynced")
    server.start()
    with Deployment(Servers(site.redis_server.url, server.url), site.name, "postgres") as made:
        migrate(made.settings())
        yield made
    server.stop()


VOLATILE: dict[str, Callable[[Replica], str | None]] = {
    "redis": lambda made: seen(made.checks.redis, lambda state: state.volatile),
    "database": lambda made: seen(
        made.checks.database, lambda state: None if state.tables is None else state.tables.volatile
    ),
}


def assert_told(deployment: Deployment, server: str, setting: str) -> None:
    """Assert that a replica works and tells of a setting, everywhere and once."""
    deployment.submit(numbered_orders(1))
    with capture_logs() as logged, running(deployment) as made:
        eventually(deployment.all_settled)
        eventually(lambda: VOLATILE[server](made) == setting)
        status, body = page(made, "/status")
        assert json.loads(body)[server]["volatile"] == setting
        eventually(lambda: page(made, "/ready")[0] == 200)
        asked_at = last_asked(made, server)
        eventually(lambda: last_asked(made, server) > asked_at)

    shown = command(deployment, "status")
    assert status == 200
    assert [entry["setting"] for entry in logged if entry["event"] == TOLD[server]] == [setting]
    assert shown.exit_code == 1
    assert shown.stdout.startswith("Needs you: ")
    assert f"may lose what it has acknowledged ({setting})" in shown.stdout.splitlines()[0]


def last_asked(made: Replica, server: str) -> float:
    return (made.checks.redis if server == "redis" else made.checks.database).last.at


@pytest.mark.parametrize("setting", ["appendonly no", "appendfsync no", "no-appendfsync-on-rewrite yes"])
@pytest.mark.parametrize("denied", [None, "info"])
def test_redis_that_may_lose_orders_is_told_of(site: Site, setting: str, denied: str | None) -> None:
    name, value = setting.split()
    if denied:
        site.acl(f"-{denied}")

    with site.configured(**{name: value}):
        assert_told(site.workers, "redis", setting)


def test_redis_without_its_file_is_told_of_by_info_alone(site: Site) -> None:
    site.acl("-config")

    with site.configured(appendonly="no"):
        assert_told(site.workers, "redis", "appendonly no")


@pytest.mark.parametrize(
    "statement",
    ["ALTER ROLE {} SET synchronous_commit = off", "ALTER DATABASE {} SET synchronous_commit = off"],
)
def test_postgresql_whose_sessions_do_not_wait_for_the_disk_is_told_of(site: Site, statement: str) -> None:
    site.sql(statement.format(site.name))

    assert_told(site.workers, "database", "synchronous_commit off")


@pytest.fixture
def not_waiting(site: Site) -> Iterator[Site]:
    """A server that waits for a standby that is not there, and a role whose sessions do not."""
    names = "ALTER SYSTEM {} synchronous_standby_names {}"
    site.sql(f"ALTER ROLE {site.name} SET synchronous_commit = local")
    site.sql(names.format("SET", "= 'somebody'"), "SELECT pg_reload_conf()")
    eventually(lambda: site.sql("SHOW synchronous_standby_names") == [("somebody",)])
    yield site
    site.sql(names.format("RESET", ""), "SELECT pg_reload_conf()")
    eventually(lambda: site.sql("SHOW synchronous_standby_names") == [("",)])


def test_sessions_that_do_not_wait_for_the_standby_that_others_wait_for_are_told_of(
    not_waiting: Site,
) -> None:
    assert_told(not_waiting.workers, "database", "synchronous_commit local")


def test_sessions_that_wait_for_no_standby_are_fine_where_there_is_none(site: Site) -> None:
    site.sql(f"ALTER ROLE {site.name} SET synchronous_commit = local")

    with running(site.workers) as made:
        eventually(lambda: VOLATILE["database"](made) == "")


def test_postgresql_that_does_not_wait_for_the_disk_is_told_of(without_fsync: Deployment) -> None:
    assert_told(without_fsync, "database", "fsync off")


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (["trades"], "trades unlogged"),
        (["trades", "orders"], "orders unlogged, trades unlogged"),
        # Without it nobody knows any more whose rows are whose.
        (["order_sources"], "order_sources unlogged"),
    ],
)
def test_tables_that_a_crash_of_postgresql_empties_are_told_of(
    site: Site, tables: list[str], told: str
) -> None:
    site.sql(*(f"ALTER TABLE {table} SET UNLOGGED" for table in tables))

    assert_told(site.workers, "database", told)


def test_what_changes_while_a_replica_works_is_told_each_time(site: Site) -> None:
    def volatile() -> str | None:
        return VOLATILE["redis"](made)

    with capture_logs() as logged, running(site.workers) as made:
        for _ in range(2):
            with site.configured(appendfsync="no"):
                eventually(lambda: volatile() == "appendfsync no")
            eventually(lambda: volatile() == "")

    assert [entry["setting"] for entry in logged if entry["event"] == TOLD["redis"]] == ["appendfsync no"] * 2


@pytest.mark.parametrize("denied", [("config",), ("config", "info")], ids=" ".join)
def test_redis_that_nobody_may_ask_is_not_known_to_keep_orders_and_all_is_well(
    site: Site, denied: tuple[str, ...]
) -> None:
    site.acl(*(f"-{each}" for each in denied))

    with running(site.workers) as made:
        eventually(lambda: made.checks.redis.last.connected)
        assert seen(made.checks.redis, lambda state: [state.volatile]) == [None]
        eventually(lambda: page(made, "/ready")[0] == 200)
        shown = command(site.workers, "status")

    assert shown.exit_code == 0
    assert "whether it keeps what it acknowledges is not known" in shown.stdout
