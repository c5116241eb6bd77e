"""Passwords that change every few seconds, and sessions that end with them: a callback has the one of now."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from tests.accounts import with_user
from tests.faults.load import Load
from tests.faults.reporting import record
from tests.harness import WORKER, Deployment, assert_invariants, eventually
from tests.processes import ROOT, workers
from worker.domain.credentials import Server

HERE = "tests.faults.test_changing_credentials"
USER = "changing"
FOLDER = "CHANGING_PASSWORDS"
EVERY_S = 2.0
CHANGES = 6
ENDING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'changing'"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE usename = 'changing' AND application_name !~ 'pages'"

pytestmark = pytest.mark.timeout(300)


def of_now(server: Server) -> tuple[str, str]:
    """Return the password of now, as the worker process is told to ask for it."""
    return USER, (Path(os.environ[FOLDER]) / f"{server.kind}.now").read_text(encoding="utf-8")


@dataclass
class Changing(Deployment):
    """A deployment whose URLs have a password that was never good."""

    folder: Path = field(kw_only=True)
    changes: int = field(default=0, init=False)

    def environment(self, who: str = WORKER, /, **overrides: object) -> dict[str, str]:
        named = super().environment(who, **overrides)
        for variable in ("REDIS_URL", "DATABASE_URL"):
            named[variable] = with_user(named[variable], USER, "never")
        return named | {FOLDER: str(self.folder)}

    def change(self) -> None:
        """Have both servers know another password alone, and end the sessions of the one before."""
        self.changes += 1
        password = f"password-{self.changes}"
        rules = ("on", "resetpass", f">{password}", "allkeys", "allchannels", "+@all")
        # Sessions between the two are let in with neither, and wait as in any outage.
        self.redis.execute_command("ACL", "SETUSER", USER, *rules)  # type: ignore[no-untyped-call]
        self._write("redis", password)
        self.redis.execute_command("CLIENT", "KILL", "USER", USER)  # type: ignore[no-untyped-call]
        until = datetime.now(UTC) + timedelta(seconds=3 * EVERY_S)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {USER} PASSWORD '{password}' VALID UNTIL '{until}'".encode())
            self._write("postgresql", password)
            connection.execute(ENDING)

    def _write(self, kind: str, password: str) -> None:
        part = self.folder / f"{kind}.part"
        part.write_text(password, encoding="utf-8")
        part.replace(self.folder / f"{kind}.now")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change both passwords every few seconds."""
        over = Event()

        def run() -> None:
            while not over.wait(EVERY_S):
                self.change()

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture
def changing(
    own_deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Changing]:
    """A deployment whose passwords were changed once, and whose workers can import this module."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with psycopg.connect(own_deployment.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN".encode())
    servers, accepted = own_deployment.servers, own_deployment.accepted
    with Changing(servers, "own", "postgres", accepted, folder=tmp_path) as made:
        made.change()
        yield made


def test_orders_flow_while_passwords_change_and_end_every_session(
    own_deployment: Deployment, changing: Changing, tmp_path: Path
) -> None:
    load = Load(own_deployment)
    with workers(
        changing, tmp_path, 2, lease_ms=60_000, max_deliveries=3, credentials=f"{HERE}:of_now"
    ) as replicas:
        with load.running(), changing.changing():
            eventually(lambda: changing.changes > CHANGES, within=60)
            assert {replica.get("/health")[0] for replica in replicas} == {200}
        settled_from = time.monotonic()
        eventually(own_deployment.all_settled, within=60)
        record("moved", "passwords changed", changes=changing.changes, orders=load.submitted,
               settled_after_s=round(time.monotonic() - settled_from, 3))  # fmt: skip
        assert [replica.drain() for replica in replicas] == [0, 0]
    said = "".join(replica.said for replica in replicas)

    assert "password-" not in said
    assert len(own_deployment.rows()) == len(own_deployment.published()) == load.submitted
    assert own_deployment.letters() == []
    assert_invariants(own_deployment, *(replica.tally for replica in replicas))


def test_orders_flow_while_connections_are_renewed_and_no_renewal_is_an_outage(
    own_deployment: Deployment, changing: Changing, tmp_path: Path
) -> None:
    with psycopg.connect(own_deployment.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {USER} VALID UNTIL 'infinity'".encode())
    load = Load(own_deployment)
    with workers(
        changing, tmp_path, 2, lease_ms=60_000, transaction_timeout_s=1, connection_max_age_s=2,
        credentials=f"{HERE}:of_now",
    ) as replicas:  # fmt: skip
        with load.running():
            load.await_more()
            before = ids(own_deployment)
            for _ in range(5):
                load.await_more()
            after = ids(own_deployment)
        eventually(own_deployment.all_settled, within=60)
        assert [replica.drain() for replica in replicas] == [0, 0]

    assert len(before) > 0
    assert before & after == set()
    assert len(own_deployment.rows()) == len(own_deployment.published()) == load.submitted
    assert [replica.tally.outages for replica in replicas] == [0, 0]
    assert_invariants(own_deployment, *(replica.tally for replica in replicas))


def ids(deployment: Deployment) -> set[str]:
    """The sessions of loops and checks; those of pages, which nobody looks at, stay."""
    with psycopg.connect(deployment.database_url) as connection:
        found = {f"postgresql {pid}" for (pid,) in connection.execute(SESSIONS)}
    clients = deployment.redis.client_list()
    return found | {
        f"redis {each['id']}" for each in clients if each["user"] == USER and "pages" not in each["name"]
    }
