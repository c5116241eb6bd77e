"""What a replica does not load: each library is memory in every process, for as long as it runs."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("library", ["alembic", "httpx", "sqlite3", "rich.progress", "worker.local"])
def test_replica_loads_nothing_that_it_never_needs(library: str) -> None:
    program = f"import sys, worker.cli.service; sys.exit({library!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
