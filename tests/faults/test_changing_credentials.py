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
import redis
from redis.crc import key_slot

from local import LocalPostgres
from tests.accounts import with_user
from tests.faults.load import Load
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.gathering import PATIENCE_MS, Cluster, Watched, gathered
from tests.harness import HASH_TAG, WORKER, Deployment, Servers, assert_invariants, eventually
from tests.processes import ROOT, workers
from worker.bootstrap.commands import migrate
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

    def change(self, until: str = "infinity") -> None:
        """Have both servers know another password alone, and end the sessions of the one before."""
        self.changes += 1
        password = f"password-{self.changes}"
        rules = ("on", "resetpass", f">{password}", "allkeys", "allchannels", "+@all")
        # Sessions between the two are let in with neither, and wait as in any outage.
        self._everywhere("ACL", "SETUSER", USER, *rules)
        self._write("redis", password)
        self._everywhere("CLIENT", "KILL", "USER", USER)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {USER} PASSWORD '{password}' VALID UNTIL '{until}'".encode())
            self._write("postgresql", password)
            connection.execute(ENDING)

    def _everywhere(self, *words: str) -> None:
        for server in self.servers.everywhere:
            with redis.Redis.from_url(server) as client:
                client.execute_command(*words)

    def _write(self, kind: str, password: str) -> None:
        part = self.folder / f"{kind}.part"
        part.write_text(password, encoding="utf-8")
        part.replace(self.folder / f"{kind}.now")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change both passwords every few seconds, and at the end to one that stays good."""
        over = Event()

        def run() -> None:
            while not over.wait(EVERY_S):
                self.change(f"{datetime.now(UTC) + timedelta(seconds=3 * EVERY_S)}")

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.change()


@contextmanager
def changeable(deployment: Deployment, folder: Path) -> Iterator[Changing]:
    """Yield a deployment again, entered with passwords that were changed once."""
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {USER} SUPERUSER LOGIN".encode())
    servers, accepted = deployment.servers, deployment.accepted
    with Changing(servers, "own", "postgres", accepted, folder=folder) as made:
        made.change()
        yield made


@pytest.fixture(autouse=True)
def workers_import_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let WORKER_CREDENTIALS name it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def changing(own_deployment: Deployment, tmp_path: Path) -> Iterator[Changing]:
    """A deployment whose passwords were changed once."""
    with changeable(own_deployment, tmp_path) as made:
        yield made


@pytest.fixture(params=[Watched, Cluster], ids=["sentinel", "cluster"])
def by_way(
    request: pytest.FixtureRequest, own_postgres: LocalPostgres, tmp_path: Path
) -> Iterator[Deployment]:
    """A migrated deployment on a Redis of several processes, each of which knows users of its own."""
    with gathered(request.param, tmp_path / "way", PATIENCE_MS) as found:
        slot = key_slot(HASH_TAG.strip("{}").encode())
        primary = found.primary(slot) if isinstance(found, Cluster) else found.primary()
        nodes = tuple(each.url for each in found.servers)
        servers = Servers(primary.url, own_postgres.url, way=found.way, nodes=nodes)
        with Deployment(servers, "own", "postgres") as made:
            migrate(made.settings())
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


def test_orders_flow_by_every_way_while_passwords_change_and_connections_are_renewed(
    by_way: Deployment, tmp_path: Path
) -> None:
    """Proves that whoever asks Sentinels, or a cluster for its node, enters with the password of now."""
    load = Load(by_way)
    with (
        changeable(by_way, tmp_path) as changing,
        workers(
            changing, tmp_path, 2, lease_ms=60_000, transaction_timeout_s=1, connection_max_age_s=2,
            credentials=f"{HERE}:of_now",
        ) as replicas,
    ):  # fmt: skip
        with load.running(), changing.changing():
            eventually(lambda: changing.changes > (CHANGES if CHAOS else 3), within=60)
            assert {replica.get("/health")[0] for replica in replicas} == {200}
        eventually(by_way.all_settled, within=60)
        assert [replica.drain() for replica in replicas] == [0, 0]

    assert "password-" not in "".join(replica.said for replica in replicas)
    assert len(by_way.rows()) == len(by_way.published()) == load.submitted
    assert by_way.letters() == []
    assert_invariants(by_way, *(replica.tally for replica in replicas))


def ids(deployment: Deployment) -> set[str]:
    """The sessions of loops and checks; those of pages, which nobody looks at, stay."""
    with psycopg.connect(deployment.database_url) as connection:
        found = {f"postgresql {pid}" for (pid,) in connection.execute(SESSIONS)}
    clients = deployment.redis.client_list()
    return found | {
        f"redis {each['id']}" for each in clients if each["user"] == USER and "pages" not in each["name"]
    }
