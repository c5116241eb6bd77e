"""The example of tokens that live 15 minutes, as it stands, and as a worker uses it."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.accounts import users, with_user
from tests.harness import WORKER, Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import ROOT, WorkerProcess
from worker.domain.credentials import Server

REDIS = Server("redis", "me", "host", 6379)
POSTGRESQL = Server("postgresql", "me", "host", 5432)


@pytest.fixture
def tokens() -> ModuleType:
    """The example, imported anew."""
    spec = importlib.util.spec_from_file_location("tokens", ROOT / "examples" / "tokens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_token_is_used_again_until_five_minutes_before_it_ends(
    tokens: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, fetched = [1000.0], list[Server]()

    def fetch(server: Server) -> str:
        fetched.append(server)
        return f"token-{len(fetched)}"

    monkeypatch.setattr(tokens, "fetch", fetch)
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
    given = []
    for minute in (0, 9.9, 10.1, 20, 20.2):
        now[0] = 1000 + 60 * minute
        given.append(tokens.credentials(REDIS)[1])

    assert given == ["token-1", "token-1", "token-2", "token-2", "token-3"]
    assert tokens.credentials(POSTGRESQL) == ("me", "token-4")
    assert fetched == [REDIS] * 3 + [POSTGRESQL]


def program(folder: Path, says: str) -> None:
    """Put what prints tokens into a folder."""
    path = folder / "print-token"
    path.write_text(f'#!/bin/sh\necho "$1 $2" >> {folder}/asked\n{says}\n', encoding="utf-8")
    path.chmod(0o755)


def test_worker_with_the_example_comes_in_by_tokens_and_waits_where_there_are_none(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'examples'}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, "echo secret >&2; exit 1")
    user = f"{deployment.name}_user"

    class ByTokens(Deployment):
        def environment(self, who: str = WORKER, /, **overrides: object) -> dict[str, str]:
            named = super().environment(who, **overrides)
            return named | {url: with_user(named[url], user, "none") for url in ("REDIS_URL", "DATABASE_URL")}

    with (
        users(deployment, "of-today"),
        ByTokens(deployment.servers, deployment.name, deployment.database_name, deployment.accepted) as here,
    ):
        replica = WorkerProcess(
            here, tmp_path / "log", credentials="tokens:credentials", connection_max_age_s=300,
            start_timeout_s=60,
        )  # fmt: skip
        try:
            eventually(lambda: "WORKER_CREDENTIALS: raised CalledProcessError" in replica.said)
            assert replica.get("/ready")[0] == 503
            assert replica.get("/health")[0] == 200
            program(tmp_path, "echo of-today")
            deployment.submit(numbered_orders(5))
            eventually(deployment.all_settled)
            assert replica.drain() == 0
        finally:
            replica.end()

    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert set(asked) == {f"redis {user}", f"postgresql {user}"}
    assert "secret" not in replica.said
    assert "of-today" not in replica.said
    assert_invariants(deployment, replica.tally)
