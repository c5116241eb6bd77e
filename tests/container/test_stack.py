"""The stack as users start it: an order in, a result out; containers stop, die and restart under load."""

import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import redis

from tests.container.stack import Stack, docker, inspect, page, received
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from worker.store.ground import VERSION_TABLE
from worker.store.tables import metadata

LOAD = 8000


@pytest.fixture
def logged(stack: Stack, accepted: list[str]) -> Iterator[Deployment]:
    """What the stack holds, three workers ready, and the log of all that was ever sent to it."""
    stack.up(workers=3)
    eventually(lambda: all(page(each, "/ready")[0] == 200 for each in stack.containers("worker")), within=60)
    with stack.deployment(accepted) as made:
        yield made


def batch(deployment: Deployment, name: str) -> None:
    deployment.submit({**order, "order_id": f"{name}-{order['order_id']}"} for order in numbered_orders(LOAD))


def settled(deployment: Deployment) -> bool:
    return deployment.all_settled() and deployment.redis.xlen("order_results") == len(deployment.accepted)


@contextmanager
def nothing_committed(deployment: Deployment) -> Iterator[None]:
    """Let nobody commit until the block ends: what a worker took stays in its hand, however fast it is."""
    with psycopg.connect(deployment.database_url) as connection:
        connection.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.fixture(scope="module")
def accepted() -> list[str]:
    """The log of every entry over all tests: they share one stack."""
    return []


def test_order_becomes_a_row_and_a_result(logged: Deployment, stack: Stack) -> None:
    workers = stack.containers("worker")
    logged.submit(numbered_orders(1))

    eventually(lambda: settled(logged))

    assert logged.published()[0]["order_id"] == "order-0"
    assert list(logged.rows()) == ["order-0"]
    eventually(
        lambda: all(inspect(each, "{{.State.Health.Status}}") == "healthy" for each in workers), within=60
    )
    status = json.loads(page(workers[0], "/status")[1])
    assert (status["redis"]["connected"], status["database"]["connected"]) == (True, True)
    assert page(workers[0], "/health")[0] == 200
    assert_invariants(logged)


def test_replicas_and_commands_enter_as_who_may_do_no_more_than_they_need(
    logged: Deployment, stack: Stack
) -> None:
    shown = stack.compose("run", "--rm", "-T", "operator", "status", "--json")
    users = {each["user"] for each in logged.redis.client_list() if each["name"].startswith("orders-worker")}

    conditions = json.loads(shown.stdout)["verdict"]["conditions"]
    assert [each for each in conditions if each["needs_person"]] == []
    assert users == {"orders-worker"}
    assert roles_of_replicas(logged) == {"orders_worker"}
    with redis.Redis.from_url(stack.redis_url("orders-operator")) as operator:
        with pytest.raises(redis.exceptions.NoPermissionError):
            operator.flushall()
        assert operator.xlen("orders") == len(logged.accepted)


def test_tables_that_one_role_for_all_has_made_are_handed_over_when_the_stack_comes_up(
    logged: Deployment, stack: Stack
) -> None:
    """Proves that a stack of before, whose only role was the superuser, goes on by `make up` alone."""
    with psycopg.connect(logged.database_url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            connection.execute(f"ALTER TABLE {table} OWNER TO orders".encode())
        connection.execute("DROP OWNED BY orders_migrate, orders_worker, orders_operator, orders_reader")

    stack.up(workers=3)
    logged.submit({**order, "order_id": f"after-{order['order_id']}"} for order in numbered_orders(1))

    eventually(lambda: settled(logged), within=60)
    with psycopg.connect(logged.database_url) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        assert owners.fetchall() == [("orders_migrate",)]
    assert {table for (table,) in tables} == {*metadata.tables, VERSION_TABLE}
    assert_invariants(logged)


def test_password_that_is_taken_away_is_another_once_the_stack_comes_up(
    logged: Deployment, stack: Stack
) -> None:
    of_before = [stack.redis_url("orders-worker"), stack.database_url("orders_worker")]
    for name in ("orders-worker.redis_password", "orders_worker.database_password"):
        (stack.secrets / name).unlink()

    stack.make_secrets()
    stack.up(workers=3)
    stack.compose("restart", "redis")
    with stack.deployment(logged.accepted) as after:
        eventually(lambda: answers(after), within=60)
        after.submit({**order, "order_id": f"changed-{order['order_id']}"} for order in numbered_orders(1))

        eventually(lambda: settled(after), within=60)
        assert_invariants(after)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(of_before[1])
    for url in [*of_before, stack.redis_url("orders-worker"), stack.database_url("orders_worker")]:
        password = urllib.parse.urlsplit(url).password
        assert password is not None
        assert password not in stack.compose("logs").stdout


def answers(deployment: Deployment) -> bool:
    try:
        return bool(deployment.redis.ping())
    except redis.RedisError:
        return False


def roles_of_replicas(deployment: Deployment) -> set[str]:
    """Who has sessions of replicas at PostgreSQL."""
    asked = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'orders-worker%'"
    with psycopg.connect(deployment.database_url) as connection:
        return {role for (role,) in connection.execute(asked)}


def test_nothing_is_lost_or_doubled_when_a_container_is_stopped_under_load(
    logged: Deployment, stack: Stack
) -> None:
    leaving = stack.containers("worker")[0]
    before = received(leaving)
    with nothing_committed(logged):
        batch(logged, "stopped")
        eventually(lambda: received(leaving) > before)
        stopping = subprocess.Popen(["docker", "stop", "-t", "10", leaving], stdout=subprocess.DEVNULL)

    assert stopping.wait(timeout=60) == 0
    assert inspect(leaving, "{{.State.ExitCode}}") == "0"
    eventually(lambda: settled(logged), within=60)
    assert_invariants(logged)


def test_nothing_is_lost_or_doubled_when_a_container_is_killed_under_load(
    logged: Deployment, stack: Stack
) -> None:
    dying = stack.containers("worker")[0]
    before = received(dying)
    with nothing_committed(logged):
        batch(logged, "killed")
        eventually(lambda: received(dying) > before)
        docker("kill", dying)

    # A lease of thirty seconds has to run out first.
    eventually(lambda: settled(logged), within=120)
    assert_invariants(logged)


def test_nothing_is_lost_or_doubled_when_postgresql_is_restarted_under_load(
    logged: Deployment, stack: Stack
) -> None:
    batch(logged, "restarted")
    eventually(lambda: logged.redis.xpending("orders", "execution")["pending"] > 0)

    docker("restart", "-t", "10", stack.containers("postgres")[0])

    eventually(lambda: settled(logged), within=90)
    # The restart has given its port another number out here.
    with stack.deployment(logged.accepted) as after:
        assert_invariants(after)


def test_worker_comes_up_by_itself_when_an_unmigrated_database_is_migrated(
    logged: Deployment, stack: Stack, image: str
) -> None:
    with logged.database.transaction() as connection:
        connection.exec_driver_sql("CREATE SCHEMA elsewhere AUTHORIZATION orders_migrate")
    network = inspect(
        stack.containers("redis")[0], "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"
    )
    url = stack.secret("orders_migrate.database_url")
    elsewhere = f"{url}?options={urllib.parse.quote('-csearch_path=elsewhere')}"
    options = (
        "--network",
        network,
        "-v",
        f"{stack.secrets}/default.redis_url:/redis_url:ro",
        "-e",
        "REDIS_URL_FILE=/redis_url",
    )
    late = docker(
        "run", "-d", "--restart", "always", *options, "-e", f"DATABASE_URL={elsewhere}",
        "-e", "WORKER_ORDERS_STREAM=late", "-p", "127.0.0.1::8003", image,
    ).stdout.strip()  # fmt: skip
    try:
        eventually(lambda: int(inspect(late, "{{.RestartCount}}")) >= 1)
        said = docker("logs", late).stderr

        docker("run", "--rm", *options, "-e", f"DATABASE_URL={elsewhere}", image, "migrate")

        eventually(lambda: page(late, "/ready")[0] == 200, within=60)
        assert "run `worker migrate`" in said
        assert "Traceback" not in said
    finally:
        docker("rm", "-f", late)


def test_worker_comes_up_by_itself_when_a_wrong_password_is_mended(
    logged: Deployment, stack: Stack, image: str
) -> None:
    network = inspect(
        stack.containers("redis")[0], "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"
    )
    wrong = stack.secrets / "mended_url"
    right = stack.secret("orders-worker.redis_url")
    wrong.write_text("redis://orders-worker:S3NT1NEL@redis:6379/0", encoding="utf-8")
    assert logged.redis.ping()
    mended = docker(
        "run", "-d", "--restart", "always", "--network", network, "-p", "127.0.0.1::8003",
        "-v", f"{stack.secrets}:/secrets:ro", "-e", "REDIS_URL_FILE=/secrets/mended_url",
        "-e", "DATABASE_URL_FILE=/secrets/orders_worker.database_url", "--user", "0:0", image,
    ).stdout.strip()  # fmt: skip
    try:
        eventually(lambda: int(inspect(mended, "{{.RestartCount}}")) >= 1)
        said = docker("logs", mended).stderr

        wrong.write_text(right, encoding="utf-8")

        eventually(lambda: page(mended, "/ready")[0] == 200, within=60)
        assert "REDIS_URL: access refused" in said
        assert "S3NT1NEL" not in said
    finally:
        docker("rm", "-f", mended)
