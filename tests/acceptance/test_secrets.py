"""Passwords appear nowhere: in no log, page, dead letter, row or result, nor in what a command says."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from local import LocalPostgres, LocalRedis
from local.directory import free_port
from tests.accounts import with_user
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import ROOT, workers

# The second half has to be percent-encoded, so either spelling is looked for.
SENTINEL = "S3NT1NEL"
PASSWORD = f"{SENTINEL}/@:{SENTINEL}"
PAGES = ("/health", "/ready", "/status", "/metrics", "/orders?limit=100", "/orders?limit=x", "/nowhere")
WORKER = (sys.executable, "-m", "worker")
COMMANDS = (("status",), ("status", "--json"), ("migrate",), ("migrate", "--json"), ("submit", "-"), ("run",))
OUTAGE_COMMANDS = (("status",), ("migrate",), ("submit", "-"), ("run",))

# The real command, with a bug in it that shows only once it runs.
CRASHING = """
from worker.cli import main
from worker.stream import OrderStream
def read(self, count, block_ms):
    raise TypeError(f"a bug, met while {self._link!r} was in use")
OrderStream.read = read
main(["run"])
"""


def said(environment: Mapping[str, str], *command: str) -> tuple[int, str]:
    """Return the exit code of a command, and everything it said."""
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), input='{"symbol": "A"}\nnonsense\n', capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def everything_stored(deployment: Deployment) -> str:
    """Return every row, result and dead letter."""
    kept = [str(deployment.entries(stream)) for stream in (deployment.results, deployment.dead_letters)]
    with psycopg.connect(deployment.database_url) as connection:
        for table in ("orders", "trades"):
            statement = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier(table))
            kept += [row[0] for row in connection.execute(statement)]
    return "\n".join(kept)


def test_passwords_appear_nowhere_from_start_to_crash(
    own_deployment: Deployment, own_redis: LocalRedis, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    deployment = own_deployment
    environment = deployment.process_environment(health_port=free_port())
    assert own_redis.password in environment["REDIS_URL"]
    assert own_postgres.password in environment["DATABASE_URL"]
    heard = [said(environment, *WORKER, *command)[1] for command in COMMANDS[:-1]]

    with workers(deployment, tmp_path, 1, log_level="DEBUG") as (replica,):
        deployment.submit(numbered_orders(50))
        deployment.add_raw("payload", b"{")
        deployment.add_raw("symbol", b"\xff\x00", "side", "BUY")
        deployment.add_raw("symbol", "'; DROP TABLE orders;--", "side", "HOLD", "reason", "\x1b[31m\nforged")
        eventually(deployment.all_settled)
        heard += [replica.get(path)[1].decode() for path in PAGES]
        for server in (own_postgres, own_redis):
            server.stop()
            eventually(lambda: replica.get("/ready")[0] == 503)
            heard += [replica.get(path)[1].decode() for path in PAGES]
            heard += [said(environment, *WORKER, *command)[1] for command in OUTAGE_COMMANDS]
            server.start()
            eventually(lambda: replica.get("/ready")[0] == 200, within=40)
        assert replica.drain() == 0

    heard.append(replica.said)
    for form in ("json", "console"):
        code, text = said({**environment, "WORKER_LOG_FORMAT": form}, sys.executable, "-c", CRASHING)
        assert (code, "a bug, met while" in text) == (70, True)
        heard.append(text)
    assert all(isinstance(json.loads(line), dict) for line in replica.said.splitlines())
    assert "forged" not in replica.said
    assert "outage over" in replica.said
    assert all(heard)
    heard.append(everything_stored(deployment))
    for password in (own_redis.password, own_postgres.password):
        assert not [text for text in heard if password in text]
    # What the submit commands added has ids that only the stream knows.
    deployment.accepted = [entry_id for entry_id, _ in deployment.entries(deployment.orders)]
    assert_invariants(deployment)


@pytest.mark.past_the_pooler
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
def test_wrong_password_is_refused_and_not_shown(
    deployment: Deployment, variable: str, command: tuple[str, ...]
) -> None:
    environment = deployment.process_environment(health_port=free_port())
    user = "default" if variable == "REDIS_URL" else "postgres"
    environment[variable] = with_user(environment[variable], user, PASSWORD)

    code, text = said(environment, *WORKER, *command)

    assert SENTINEL not in text
    assert "Traceback" not in text
    assert code in {0, 1, 3, 78}
