"""What a rehearsal leaves behind, and whether all that the scripts run is on the page of rights."""

import re
from importlib.resources import files
from typing import Any

import pytest

from local.directory import free_port
from tests.faults.environment.site import Site
from tests.harness import numbered_orders
from tests.inprocess import running
from tests.rights import USERS, commands
from worker.bootstrap.replica import replica

SCRIPTS = [
    each.read_text(encoding="utf-8")
    for each in files("worker.stream.scripts").iterdir()
    if each.name.endswith(".lua")
]
COMMANDS = sorted(
    {command for script in SCRIPTS for command in re.findall(r"redis\.p?call\('([A-Z]+)'", script)}
)


def test_rehearsal_leaves_nothing_behind(site: Site) -> None:
    counts = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM trades)"

    with replica(site.workers.settings(health_port=free_port())):
        (rows,) = site.sql(counts)
        keys = {key.decode() for key in site.deployment.redis.scan_iter()}

    assert rows == (0, 0)
    assert not [key for key in keys if ":probe:" in key]


def test_every_command_of_the_scripts_is_given_to_somebody() -> None:
    given = {right for user in USERS for right in commands(user, channel=True)}
    first_words = {right.partition("|")[0].upper() for right in given}

    assert set(COMMANDS) <= first_words


@pytest.mark.parametrize("user", ["orders-awaiter", "orders-monitor"])
def test_whoever_only_looks_may_run_no_command_that_writes(site: Site, user: str) -> None:
    asked = [right.partition("|")[0] for right in commands(user)]

    known: Any = site.deployment.redis.execute_command("COMMAND")  # type: ignore[no-untyped-call]
    assert not [name for name in asked if "write" in known[name]["flags"]]


@pytest.mark.parametrize("command", ["info", "config"])
def test_command_that_only_tells_of_the_server_is_not_needed(site: Site, command: str) -> None:
    site.acl(f"-{command}")
    site.deployment.submit(numbered_orders(1))

    with running(site.workers) as made:
        made.checks.redis.ask()
        last = made.checks.redis.last

    assert last.told is not None
    assert last.error is None
    if command == "info":
        assert last.told.version == "not known"
