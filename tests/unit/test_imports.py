"""What a replica does not load: each library is memory in every process, for as long as it runs."""

import subprocess
import sys

import pytest


# redis-py loads the metrics of OpenTelemetry where they are installed, and nothing that makes or sends spans.
@pytest.mark.parametrize(
    "library",
    [
        "alembic", "httpx", "pydantic", "sqlite3", "local", "requests", "opentelemetry.sdk.trace",
        "opentelemetry.exporter", "google.protobuf", "worker.tracing.sending", "worker.tracing.batches",
    ],
)  # fmt: skip
def test_replica_loads_nothing_that_it_never_needs(library: str) -> None:
    assert library not in _loaded("run")


@pytest.mark.parametrize("library", ["click", "msgspec", "psycopg", "redis", "sqlalchemy", "structlog"])
def test_signal_is_heard_before_a_library_is_loaded(library: str) -> None:
    assert library not in _modules("import worker.__main__")


def _loaded(command: str) -> list[str]:
    loaded = _modules(f"import worker.cli as c; c.main.get_command(None, {command!r})")
    assert "worker.cli" in loaded
    return loaded


def _modules(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.split()
