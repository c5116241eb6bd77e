"""What a replica does not load: each library is memory in every process, for as long as it runs."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "library", ["alembic", "greenlet", "httpx", "pydantic", "rich", "sqlite3", "worker.local"]
)
def test_replica_loads_nothing_that_it_never_needs(library: str) -> None:
    assert library not in _loaded("run")


def test_command_for_people_has_what_draws_for_them() -> None:
    assert "rich" in _loaded("status")


def _loaded(command: str) -> list[str]:
    program = f"import sys, worker.cli as c; c.main.get_command(None, {command!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "worker.cli" in done.stdout
    return done.stdout.split()
