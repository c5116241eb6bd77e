"""The recipes for ways to Redis, run from top to bottom, each with servers and a database of its own."""

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from local.directory import free_port
from local.redis import find_redis
from tests.acceptance.test_migration_page import Shell, commands, shell
from tests.fronted import PROXY, moved, require_haproxy
from tests.gathering import port_of_a_cluster
from tests.harness import Deployment, eventually
from tests.processes import ROOT
from tests.skips import Reason, skip

FOLDER = ROOT / "docs" / "recipes"
STEP = re.compile(r"```(?P<kind>console|sh)\n(?P<text>.*?)```", re.DOTALL)
# What a person looks at again until it is there; everything else is done once.
LOOKING = re.compile(r"redis-cli -p|worker status")
SENTINEL = (6381, 6382, 6383, 26381, 26382, 26383)
CLUSTER = (7001, 7002, 7003, 7004, 7005, 7006)
# The .venv of a test is there already.
MAKE = """#!/bin/sh
[ "$*" = .venv/.installed-local ] && exit 0
echo "no test knows make $*" >&2; exit 2
"""

pytestmark = pytest.mark.timeout(300)


class Page:
    """A recipe as its reader follows it, on ports that are free here."""

    def __init__(self, name: str, terminal: Shell, ports: Mapping[int, int]) -> None:
        self._text = moved((FOLDER / name).read_text(encoding="utf-8"), ports)
        self._terminal = terminal
        # Which of two replicas is promoted is not for a page to say: what it shows is the first.
        self._same = {str(ports[6383]): str(ports[6382])} if 6383 in ports else {}

    def follow(self, *, begin: str = "", to: str = "") -> None:
        """Run every line of the page, or those from a heading on, or those up to one."""
        text = self._text.partition(f"\n## {begin}\n")[2] if begin else self._text
        text = text.partition(f"\n## {to}\n")[0] if to else text
        for step in STEP.finditer(text):
            if step["kind"] == "sh":
                assert self._terminal.says(step["text"]) == ""
            else:
                for command, printed in commands(step["text"]):
                    self._run(command, printed)

    def _run(self, command: str, printed: str) -> None:
        said: list[str] = []

        def as_printed() -> bool:
            said.append(self._terminal.says(command))
            return self._same.get(said[-1], said[-1]) == printed

        try:
            eventually(as_printed, within=40 if LOOKING.match(command) else 0, every_s=0.2)
        except AssertionError:
            raise AssertionError(f"$ {command}\n{said[-1]}\n--- the page shows:\n{printed}") from None


@contextmanager
def checkout(deployment: Deployment, folder: Path, ports: Mapping[int, int]) -> Iterator[Shell]:
    """Give a terminal in a folder that has what a page takes from a checkout; stop what a page leaves."""
    for each in ("sentinel", "cluster", "haproxy"):
        shutil.copytree(ROOT / "deploy" / each, folder / "deploy" / each)
        for file in (folder / "deploy" / each).iterdir():
            file.write_text(moved(file.read_text(encoding="utf-8"), ports), encoding="utf-8")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    try:
        with shell(deployment, folder) as terminal:
            programs(folder / "bin")
            yield terminal
    finally:
        for file in folder.glob(".local/**/*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text(encoding="ascii")), signal.SIGKILL)


def programs(folder: Path) -> None:
    """Put what a page takes for granted into a folder of PATH; leave out the test where that is missing."""
    server = Path(find_redis()[0])
    beside = server.parent / "redis-cli"
    client = str(beside) if beside.exists() else shutil.which("redis-cli")
    if client is None:
        skip(Reason.NO_REDIS_CLI)
    for name, program in (("redis-server", str(server)), ("redis-cli", client)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(program)
    (folder / "make").write_text(MAKE, encoding="utf-8")
    (folder / "make").chmod(0o755)


def test_recipe_for_sentinel_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    ports = {each: free_port() for each in SENTINEL}

    with checkout(own_deployment, tmp_path, ports) as terminal:
        Page("sentinel.md", terminal, ports).follow()

    assert_orders(own_deployment, tmp_path, "first", "second")


def test_recipe_for_a_cluster_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    ports = {each: port_of_a_cluster() for each in CLUSTER}

    with checkout(own_deployment, tmp_path, ports) as terminal:
        Page("cluster.md", terminal, ports).follow()

    assert_orders(own_deployment, tmp_path, "first", "second")


def test_recipe_for_haproxy_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    require_haproxy()
    ports = {each: free_port() for each in (*SENTINEL, PROXY)}

    with checkout(own_deployment, tmp_path, ports) as terminal:
        page = partial(Page, terminal=terminal, ports=ports)
        page("sentinel.md").follow(to="The first order")
        page("haproxy.md").follow()

    assert_orders(own_deployment, tmp_path, "first", "second")


def test_recipe_for_two_rooms_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    ports = {each: free_port() for each in SENTINEL}

    with checkout(own_deployment, tmp_path, ports) as terminal:
        page = partial(Page, terminal=terminal, ports=ports)
        page("sentinel.md").follow(to="The primary dies")
        page("two-rooms.md").follow()
        page("sentinel.md").follow(begin="The primary dies")

    assert_orders(own_deployment, tmp_path, "first", "fourth", "second", "third")


def assert_orders(deployment: Deployment, folder: Path, *order_ids: str) -> None:
    """Assert that these orders were executed, and that the page has taken away what it made."""
    with deployment.database.transaction() as connection:
        rows = connection.exec_driver_sql("SELECT order_id, status FROM orders ORDER BY order_id").all()
    assert [tuple(row) for row in rows] == [(each, "FILLED") for each in order_ids]
    assert list(folder.glob(".local/*")) == []
