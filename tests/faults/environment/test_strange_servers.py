"""Starts on servers that are not what is needed: refused in one line with the way out.

There is no loop and no wait before the refusal.
"""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from local import LocalPostgres, LocalRedis
from local.directory import free_port
from local.redis import find_redis
from tests import pooler
from tests.faults.environment.site import PASSWORD, Site
from tests.faults.environment.test_start import CONFIGURATION, start
from tests.faults.moving import through
from tests.gathering import SLOTS, port_of_a_cluster
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.inprocess import running, seen
from worker.bootstrap.commands import migrate
from worker.bootstrap.status import snapshot
from worker.domain.errors import ConfigurationError, Outage
from worker.settings import read_settings
from worker.status import Away
from worker.store import Database, require_fit


def refusal(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a start is refused with."""
    # Waiting would be seen: as a test that takes a minute.
    with pytest.raises(SystemExit) as left:
        start({**environment, "WORKER_HEALTH_PORT": str(free_port()), "WORKER_START_TIMEOUT_S": "60"})
    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == CONFIGURATION, line
    return line


def test_cluster_with_the_keys_in_several_slots_is_refused(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "port").write_text(str(port_of_a_cluster()))
    server = LocalRedis(folder, {"cluster-enabled": "yes", "databases": "1"})
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS))
            eventually(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        line = refusal(site.workers.environment() | {"REDIS_URL": server.url}, capsys)
    finally:
        server.stop()

    assert line.startswith("worker: REDIS_URL: leads to a Redis Cluster")


@contextmanager
def sentinel(folder: Path) -> Iterator[str]:
    """Run a Sentinel, and yield its URL."""
    program, _ = find_redis()
    port, configuration = free_port(), folder / "sentinel.conf"
    configuration.write_text(
        f'port {port}\nbind 127.0.0.1\ndir "{folder}"\nsentinel monitor one 127.0.0.1 {free_port()} 1\n',
        encoding="utf-8",
    )
    running_sentinel = subprocess.Popen(
        [program, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
    )
    url = f"redis://127.0.0.1:{port}/0"
    try:
        eventually(lambda: answers(url))
        yield url
    finally:
        running_sentinel.terminate()
        running_sentinel.wait(timeout=20)


def answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def test_port_of_a_sentinel_is_refused(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sentinel(tmp_path) as url:
        line = refusal(site.workers.environment() | {"REDIS_URL": url}, capsys)

    assert line.startswith("worker: REDIS_URL: leads to a Sentinel")


def test_redis_that_may_evict_orders_is_refused_unless_that_is_allowed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with site.configured(maxmemory_policy="allkeys-lru", maxmemory=1_000_000_000):
        line = refusal(site.workers.environment(), capsys)
        with running(site.workers, allow_eviction=True):
            pass
    with site.configured(maxmemory_policy="allkeys-lru"), running(site.workers):
        pass

    assert "maxmemory-policy allkeys-lru" in line
    assert "WORKER_ALLOW_EVICTION=1" in line


def test_redis_that_comes_to_evict_orders_is_told_of_and_no_reason_to_leave(site: Site) -> None:
    with (
        running(site.workers) as made,
        site.configured(maxmemory_policy="allkeys-lru", maxmemory=1_000_000_000),
    ):
        eventually(lambda: seen(made.checks.redis, lambda state: state.eviction) == "allkeys-lru")

        assert made.checks.redis.last.connected
        assert not made.worker.drain.requested


@pytest.mark.parametrize("denied", [("info",), ("info", "config")], ids=" ".join)
def test_policy_that_nobody_may_ask_for_is_no_reason_to_leave(site: Site, denied: tuple[str, ...]) -> None:
    site.acl(*(f"-{command}" for command in denied))

    with running(site.workers) as made:
        eventually(lambda: made.checks.redis.last.connected)

        policy = seen(made.checks.redis, lambda state: [state.eviction])
        assert policy == ["" if len(denied) == 1 else None]


def test_standby_is_refused(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    server = LocalPostgres(tmp_path / "standby")
    server.start()
    with Deployment(Servers(site.redis_server.url, server.url), "standby", "postgres") as made:
        migrate(made.settings())
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    try:
        line = refusal(site.deployment.environment() | {"DATABASE_URL": server.url}, capsys)
        with pytest.raises(ConfigurationError, match="standby"):
            migrate(made.settings())
    finally:
        server.stop()

    assert line.startswith("worker: DATABASE_URL: leads to a standby")


@pytest.mark.parametrize(
    "option",
    [
        "sslmode=junk", "sslmode=require", "options=-cno_such_thing%3D1",
        "options=-cstatement_timeout%3Djunk", "options=--nosuch", "options=junk", "target_session_attrs=junk",
        "keepalives=junk", "sslnegotiation=direct", "channel_binding=require", "require_auth=none",
        "gssencmode=require", "sslcertmode=require", "scram_client_key=x", "service=no_such_service",
    ],
)  # fmt: skip
def test_option_that_can_not_be_right_is_refused(
    site: Site, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = site.workers.environment()["DATABASE_URL"]

    line = refusal(site.workers.environment() | {"DATABASE_URL": f"{url}?{option}"}, capsys)

    assert line.startswith("worker: DATABASE_URL: can't be used as it is: ")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("target_session_attrs=standby", "target_session_attrs asks for a server that takes no writes"),
        ("replication=database", "option 'replication'"),
        ("hostaddr=junk", "no numeric address"),
        ("host=127.0.0.1,127.0.0.1&port=1,2,3", "not the same number"),
    ],
)
def test_option_with_which_nothing_is_ever_found_is_refused(
    site: Site, option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = site.workers.environment()["DATABASE_URL"]

    line = refusal(site.workers.environment() | {"DATABASE_URL": f"{url}?{option}"}, capsys)

    assert line.startswith("worker: DATABASE_URL: ")
    assert words in line


def test_database_that_redis_does_not_have_is_refused(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    environment = site.workers.environment()
    url = f"{environment['REDIS_URL'].rpartition('/')[0]}/99"

    line = refusal(environment | {"REDIS_URL": url}, capsys)

    assert line == "worker: REDIS_URL: the server has no database of this number"


def test_session_that_is_read_only_for_a_while_is_waited_for(site: Site) -> None:
    """A primary being promoted says so: libpq gives the session up, as with options that can't be right."""
    url = f"{site.workers.environment()['DATABASE_URL']}?target_session_attrs=read-write"
    site.sql(f"ALTER ROLE {site.name} SET default_transaction_read_only = on")

    with (
        closing(Database(url, transaction_timeout_s=2, pool_size=1, application_name="test")) as database,
        pytest.raises(Outage, match="session is read-only"),
    ):
        require_fit(database)


@pytest.fixture(params=["PostgreSQL", "PgBouncer", "PostgreSQL behind PgBouncer"])
def database_that_is_not_there(
    request: pytest.FixtureRequest, site: Site, for_everybody: Path
) -> Iterator[str]:
    """A URL with a database that the server, or PgBouncer before it, does not have."""
    url = f"{site.workers.database_url.rpartition('/')[0]}/misnamed"
    if request.param == "PostgreSQL":
        yield url
        return
    known = site.name if request.param == "PgBouncer" else "*"
    letting_in = pooler.letting_in(site.name, for_everybody)
    with pooler.started(site.postgres_server.url, for_everybody, known, **letting_in) as started:
        there = through(site.workers.database_url, started.port)
        eventually(lambda: pooler.answers(there))
        yield through(url, started.port)


@pytest.fixture
def without_transactions(site: Site, tmp_path: Path) -> Iterator[str]:
    """PgBouncer in statement mode before the site's database."""
    with pooler.started(site.postgres_server.url, tmp_path, pool_mode="statement") as started:
        url = f"{started.url.rpartition('/')[0]}/{site.name}"
        eventually(lambda: pooler.answers(url))
        yield url


def test_pooler_without_transactions_is_refused(
    site: Site, without_transactions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(site.workers.environment() | {"DATABASE_URL": without_transactions}, capsys)

    assert line.startswith("worker: DATABASE_URL: leads to PgBouncer in statement pooling mode")


def test_database_that_is_not_there_is_refused_by_whatever_starts(
    site: Site, database_that_is_not_there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = site.workers.environment() | {"DATABASE_URL": database_that_is_not_there}
    settings = read_settings({**environment, "WORKER_START_TIMEOUT_S": "60"})

    line = refusal(environment, capsys)
    with pytest.raises(ConfigurationError) as caught:
        migrate(settings)
    shown = snapshot(settings).database

    for said in (line, f"worker: {caught.value}"):
        assert said.startswith("worker: DATABASE_URL: leads to a database that is not there; ")
        assert "misnamed" in said
        assert PASSWORD not in said
    assert isinstance(shown, Away)
    assert shown.misconfigured


def test_database_that_a_pooler_forgets_is_an_outage_to_who_is_at_work(
    site: Site, for_everybody: Path
) -> None:
    letting_in = pooler.letting_in(site.name, for_everybody)
    with pooler.started(site.postgres_server.url, for_everybody, **letting_in) as front:
        eventually(lambda: pooler.answers(through(site.workers.database_url, front.port)))
        behind = replace(site.workers.servers, database_url=through(site.workers.database_url, front.port))
        with site.workers.elsewhere(behind) as workers, running(workers, lease_ms=60_000) as made:
            front.kill()
            front.knows("another")
            front.start()
            site.deployment.submit(numbered_orders(5))
            eventually(lambda: "no such database" in str(made.checks.database.last.error))
            eventually(lambda: made.worker.tally.outages > 0)
            front.kill()
            front.knows("*")
            front.start()
            eventually(site.deployment.all_settled)

    assert len(site.deployment.published()) == 5
    assert site.deployment.letters() == []
    assert_invariants(site.deployment)
