"""The runbook is what happens: each page is followed from top to bottom, and each of its commands tried."""

import ast
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import LocalRedis
from tests.acceptance.runbook import FOLDER, Reader, blocks, named_commands, pages, shape, shown_commands
from tests.acceptance.runbook_events import EVENTS
from tests.acceptance.runbook_scene import Scene, notes_in, scene_of
from tests.acceptance.test_migration_page import shell
from tests.harness import Deployment, Servers
from tests.processes import ROOT

# Its own test runs every command of it.
ELSEWHERE = {"status": ROOT / "tests" / "acceptance" / "test_status.py"}
OWN_POSTGRESQL = {"outage"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)

CURL = """#!{python}
import os, sys, urllib.error, urllib.request
url = sys.argv[-1].replace("localhost:8003", "127.0.0.1:" + open("port").read())
try:
    print(urllib.request.urlopen("http://" + url, timeout=5).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


@pytest.fixture
def scene(
    request: pytest.FixtureRequest, own_redis: LocalRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """Servers with nothing on them: a Redis of its own, and a PostgreSQL of its own where it is stopped."""
    for name, value in notes_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    own = request.node.callspec.params["page"] in OWN_POSTGRESQL
    database: Deployment = request.getfixturevalue("own_deployment" if own else "deployment")
    servers = Servers(own_redis.url, database.servers.database_url)
    with (
        Deployment(servers, "runbook", database.database_name) as deployment,
        scene_of(
            deployment, tmp_path, own_redis, request.getfixturevalue("own_postgres") if own else None
        ) as made,
    ):
        yield made


@contextmanager
def reader_of(page: str, scene: Scene) -> Iterator[Reader]:
    """Somebody at a terminal who is about to follow a page."""
    with shell(scene.deployment, scene.folder) as terminal:
        curl = scene.folder / "bin" / "curl"
        curl.write_text(CURL.format(python=sys.executable), encoding="utf-8")
        curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
        events = EVENTS[page](scene)
        for name in ("lease_ms", "transaction_timeout_s", "execute_timeout_s", "block_ms"):
            terminal.says(f"export WORKER_{name.upper()}={scene.settings[name]}")
        yield Reader(terminal, events)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", sorted(EVENTS))
def test_every_command_of_the_page_does_what_it_shows(scene: Scene, page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")

    with reader_of(page, scene) as reader:
        reader.follow(FOLDER / f"{page}.md")

    assert [each for each in reader.ran if each.startswith("worker ")] == blocks(text)
    assert "Traceback" not in "".join(log.read_text(encoding="utf-8") for log in scene.folder.glob("*.log"))


def untried(texts: dict[str, str]) -> dict[str, list[str]]:
    """Return, by page, the commands that no test runs: outside what is run, or named with other options."""
    tried = {shape(command) for name, text in texts.items() for command in _run_of(name, text)}
    found = {}
    for name, text in texts.items():
        alone = [each for each in shown_commands(text) if each not in _run_of(name, text)]
        named = [each for each in named_commands(text) if not _is_tried(shape(each), tried)]
        if alone or named:
            found[name] = alone + named
    return found


def _run_of(name: str, text: str) -> list[str]:
    if name in EVENTS:
        return blocks(text)
    return shown_commands(text) + named_commands(text) if name in ELSEWHERE else []


def _is_tried(wanted: tuple[str, frozenset[str]], tried: set[tuple[str, frozenset[str]]]) -> bool:
    verb, options = wanted
    return any(verb == known and options <= given for known, given in tried)


def test_every_command_of_the_runbook_is_run_by_a_test() -> None:
    texts = {page.stem: page.read_text(encoding="utf-8") for page in pages()}

    assert untried(texts) == {}
    assert all("commands_of(PAGE" in test.read_text(encoding="utf-8") for test in ELSEWHERE.values())


@pytest.mark.parametrize(
    ("page", "text", "left"),
    [
        ("brand-new", "```console\n$ worker status\n```\n", ["worker status"]),
        ("outage", "```text\n$ worker dead discard 1-0 --yes\n```\n", ["worker dead discard 1-0 --yes"]),
        ("outage", "Then `worker audit --explode` mends it.\n", ["worker audit --explode"]),
        ("outage", "```console\n$ worker audit --since 2h\n```\nas `worker audit --since 1h` does", []),
    ],
)
def test_command_that_no_test_runs_is_named(page: str, text: str, left: list[str]) -> None:
    assert untried({page: text}) == ({page: left} if left else {})


def test_index_leads_to_every_page() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [page.name for page in pages() if f"({page.name})" not in index and page.stem != "README"] == []


def texts_of_findings() -> set[str]:
    """Return what the audit says of findings, cut where ids and numbers are put in."""
    found = set()
    for name in ("judgement", "audit", "entries"):
        tree = ast.parse((ROOT / "worker" / "repair" / f"{name}.py").read_text(encoding="utf-8"))
        documentation = {
            ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)
        }
        found |= {
            node.value.strip(" :,{}")
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value not in documentation
        }
    return {text for text in found if " " in text}


def test_audit_page_explains_every_finding_there_is() -> None:
    page = " ".join((FOLDER / "audit.md").read_text(encoding="utf-8").split())

    assert "its settled mark is gone: another delivery would publish again" in texts_of_findings()
    assert {text for text in texts_of_findings() if text not in page} == set()
