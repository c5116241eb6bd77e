"""The last version, as it was committed, in a folder of its own: its commands and replicas run from there.

Its tests are there as well: in a storm its replicas are watched and killed as they were in its own.
"""

import subprocess
import sys
from pathlib import Path

from tests.harness import Deployment
from tests.installing import unpacked

# 0.1.0, the newest commit whose replicas this version may meet: rows without a source, marks of a group.
COMMIT = "dca7744681541a2b77d28bec7715b94c8deb0229"


def unpack(folder: Path) -> Path:
    """Return the folder with the last version in it; leaves out the test where that can't be had."""
    return unpacked(COMMIT, folder, "worker", "alembic", "tests")


def command(tree: Path, deployment: Deployment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the version in a tree."""
    # A tree that is not on the path of the tests' own Python: the working directory goes first.
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=tree, env=deployment.process_environment(), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def migrate(tree: Path, deployment: Deployment) -> None:
    """Bring the schema to where the version in a tree wants it."""
    done = command(tree, deployment, "migrate")
    assert (done.returncode, done.stdout) == (0, "schema: current\n"), done.stderr
