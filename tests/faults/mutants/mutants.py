"""Bugs that are planted in a copy of the tree, one at a time, to see the tests catch them."""

import json
import os
import select
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.harness import Servers

ROOT = Path(__file__).parents[3]
LIST = Path(__file__).with_name("mutants.toml")
PRELOADED = Path(__file__).with_name("preloaded.py")
COPIED = (
    "worker", "local", "tests", "alembic", "alembic.ini", "deploy/redis", "deploy/postgres",
    "deploy/pgbouncer", "docs/deploy.md", "examples", "pyproject.toml", "README.md",
)  # fmt: skip
FAILED = 1
TEST_LASTS_S, ALL_LAST_S = 150, 600


class NoLongerApplies(Exception):
    """What is to be changed does not stand in the file exactly once: the list has to follow the code."""


class Edit(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of one file, and what comes in its place."""

    file: str
    before: str
    after: str

    def apply(self, tree: Path) -> None:
        """Change the file. Raises NoLongerApplies."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.count(self.before) != 1:
            raise NoLongerApplies(f"{self.file}: {text.count(self.before)} times: {self.before.strip()}")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


class Mutant(Struct, frozen=True, forbid_unknown_fields=True):
    """A bug, the mechanism that it breaks, and the test that is to catch it."""

    name: str
    mechanism: str
    caught_by: str
    edit: tuple[Edit, ...]

    def apply(self, tree: Path) -> None:
        """Plant it. Raises NoLongerApplies."""
        for each in self.edit:
            each.apply(tree)

    @property
    def stage(self) -> str:
        """Which kind of test is to catch it."""
        return self.caught_by.split("/")[1]


class _Listed(Struct, forbid_unknown_fields=True):
    mutant: tuple[Mutant, ...]


def mutants() -> tuple[Mutant, ...]:
    """Return all that are listed."""
    return msgspec.convert(tomllib.loads(LIST.read_text(encoding="utf-8")), _Listed).mutant


def copy_of_the_tree(folder: Path, source: Path = ROOT) -> Path:
    """Return a copy of all the tests need, compiled files included: compiling takes longer than testing."""
    for name in COPIED:
        original = source / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if original.is_dir():
            shutil.copytree(original, folder / name)
        elif original.exists():
            shutil.copy2(original, folder / name)
    return folder


class Done(Struct, frozen=True):
    """How a run of tests has ended, and what it said."""

    code: int
    said: str


class Runs:
    """Runs tests of copies of the tree against servers that are up, one run at a time."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self._output = folder / "said"
        self._environment = os.environ | {
            # Whatever else is installed: a plugin that nobody asked for may take seconds.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "SERVERS": "urls",
            "REDIS_URL": servers.redis_url,
            "DATABASE_URL": servers.database_url,
        }
        self._process = subprocess.Popen(
            [sys.executable, PRELOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, tree: Path, *tests: str) -> Done:
        """Run tests of a copy."""
        # A bug may keep a test from its end: that is caught, as long as it is this limit that strikes.
        limit = f"--timeout={TEST_LASTS_S}"
        request = {
            "tree": str(tree),
            "environment": self._environment | {"PYTHONPATH": str(tree)},
            "arguments": ["-x", "-q", "-p", "pytest_timeout", limit, "-p", "no:cacheprovider", *tests],
            "output": str(self._output),
        }
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        if not select.select([answered], [], [], ALL_LAST_S)[0]:
            raise TimeoutError(f"tests went on for longer than {ALL_LAST_S} s: {tests}")
        return Done(int(answered.readline()), self._output.read_text(encoding="utf-8"))

    def end(self) -> None:
        """End the process, and what it runs."""
        self._process.kill()
        self._process.communicate()
