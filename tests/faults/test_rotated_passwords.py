"""A password is changed at the server, then in the file that names it: it is taken up without a restart."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.faults.load import Load
from tests.faults.reporting import record
from tests.harness import WORKER, Deployment, assert_invariants, eventually
from tests.processes import WorkerProcess, workers

USER = "rotating"
ENDING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'"
# The longest back-off, and the work on two busy cores.
TAKEN_UP_WITHIN_S = 8.0

pytestmark = pytest.mark.timeout(300)


@dataclass
class Filed(Deployment):
    """A deployment whose workers find their URLs in files."""

    folder: Path = field(kw_only=True)

    def environment(self, who: str = WORKER, /, **overrides: object) -> dict[str, str]:
        named = super().environment(who, **overrides)
        for variable in ("REDIS_URL", "DATABASE_URL"):
            del named[variable]
            named[f"{variable}_FILE"] = str(self.folder / variable)
        return named

    def write(self, variable: str, password: str) -> None:
        """Write the URL of a server with a password into its file."""
        url = super().environment()[variable]
        parts = urlsplit(url)
        way = f"{USER}:{password}@{parts.hostname}:{parts.port}"
        (self.folder / variable).write_text(urlunsplit(parts._replace(netloc=way)), encoding="utf-8")

    def admit(self, variable: str, password: str) -> None:
        """Let the user in with this password alone, and end the sessions that it has."""
        if variable == "REDIS_URL":
            rules = ("on", "resetpass", f">{password}", "allkeys", "allchannels", "+@all")
            self.redis.execute_command("ACL", "SETUSER", USER, *rules)  # type: ignore[no-untyped-call]
            self.redis.execute_command("CLIENT", "KILL", "USER", USER)  # type: ignore[no-untyped-call]
            return
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {USER} PASSWORD '{password}'".encode())
            connection.execute(ENDING)


def waits(replica: WorkerProcess, sign: str) -> bool:
    status, body = replica.get("/ready")
    return status == 503 and sign in body.decode()


@pytest.mark.parametrize(
    ("variable", "sign"),
    [("REDIS_URL", "AuthenticationError"), ("DATABASE_URL", "password authentication failed")],
)
def test_password_that_changed_in_its_file_is_taken_up_without_a_restart(
    own_deployment: Deployment, tmp_path: Path, variable: str, sign: str
) -> None:
    with psycopg.connect(own_deployment.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD 'first'".encode())
    with Filed(own_deployment.servers, "own", "postgres", own_deployment.accepted, folder=tmp_path) as filed:
        for each in ("REDIS_URL", "DATABASE_URL"):
            filed.admit(each, "first")
            filed.write(each, "first")
        load = Load(own_deployment)
        with workers(filed, tmp_path, 1, lease_ms=60_000, max_deliveries=3) as (replica,):
            with load.running():
                load.await_more()
                filed.admit(variable, "second")
                eventually(lambda: waits(replica, sign))
                assert replica.get("/health")[0] == 200

                filed.write(variable, "second")
                written_at = time.monotonic()
                eventually(lambda: replica.get("/ready")[0] == 200, within=TAKEN_UP_WITHIN_S)
                record("moved", f"{variable} rotated", taken_up_s=round(time.monotonic() - written_at, 3))
            eventually(own_deployment.all_settled, within=60)
            assert replica.drain() == 0

    assert len(own_deployment.rows()) == len(own_deployment.published()) == load.submitted
    assert own_deployment.letters() == []
    assert_invariants(own_deployment, replica.tally)
