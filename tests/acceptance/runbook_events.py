"""What happens in the runbook, made to happen: orders come, replicas die, servers go, keys are deleted."""

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import text

from local.directory import free_port
from tests.acceptance.runbook_scene import (
    LONG_LEASE,
    SHORT,
    Event,
    Scene,
    Server,
    break_everything,
    one_after_another,
)
from tests.harness import eventually, names_of, numbered_orders
from tests.migrating import DROP_ALL
from tests.processes import COMMAND, ROOT, WorkerProcess
from tests.venue import venue
from worker.domain.deliveries import FIRST_COUNT

EXECUTORS = "tests.faults.executors"


def _backlog(scene: Scene) -> dict[str, Event]:
    slow: dict[str, Any] = {"batch_size": 20, "paper_latency_ms": 20}
    return {
        "3,000 orders come while no replica runs": one_after_another(
            partial(scene.begin_with, 10), scene.drain, partial(scene.submit, 3000, 10)
        ),
        "one slow replica is started": partial(scene.start, **slow),
        "two more replicas are started": lambda: [scene.start(f"worker-{n}") for n in (2, 3)],
    }


def _pending(scene: Scene) -> dict[str, Event]:
    scene.settings = dict(LONG_LEASE)

    def killed() -> None:
        scene.submit(500)
        dead = scene.start("dead", (sys.executable, "-m", "tests.faults.victim", "after read", "kill"))
        dead.wait()

    return {
        "a replica with 500 orders in hand is killed": killed,
        "a replica is started": scene.start,
    }


def _letters(scene: Scene) -> dict[str, Event]:
    def buried() -> None:
        orders = numbered_orders(3)
        scene.deployment.submit([orders[2]])
        first = scene.start()
        scene.settle()
        assert first.drain() == 0
        scene.deployment.submit(
            [
                {"payload": "{not json"},
                {**orders[2], "quantity": "77"},
                {**orders[0], "client_id": "poison-1"},
                {**orders[1], "client_id": "poison-2"},
            ]
        )
        scene.start(executor=f"{EXECUTORS}:Raising", max_deliveries=3)
        scene.settle()
        scene.drain()

    return {"two orders fail, one conflicts, one entry is no order": buried, "a replica works": scene.start}


def _outage(scene: Scene) -> dict[str, Event]:
    client: Any = scene.deployment.redis
    assert scene.postgres is not None

    def full() -> None:
        # At one instant: a fast replica would have settled them before its results are refused.
        scene.deployment.submit(numbered_orders(520)[500:], and_set={"maxmemory": 1})

    def at_rest() -> None:
        # While it repairs, or looks for lost rows, it would notice the outage before it has taken anything.
        eventually(lambda: "repair ended" in scene.replicas["worker"].said)
        eventually(lambda: client.hget(names_of(scene.deployment, "").looks, "done"))

    def taken() -> None:
        eventually(lambda: scene.deployment.pending() == 20)

    def started(server: Server) -> None:
        server.start()

    port = free_port()

    def without_venue() -> None:
        scene.drain()
        scene.start("venue-worker", executor="venue", venue_url=f"http://127.0.0.1:{port}")
        scene.submit(FIRST_COUNT, 600)

    def venue_returns() -> None:
        book = scene.folder / "book.jsonl"
        back = subprocess.Popen([sys.executable, "-m", "tests.venue", str(port), str(book)], cwd=ROOT)
        scene.opened.callback(back.wait)
        scene.opened.callback(back.kill)

    return {
        "a replica works": partial(scene.begin_with, 300),
        "PostgreSQL is stopped, 20 orders come": one_after_another(
            at_rest, partial(stop, scene.postgres), partial(scene.submit, 20, 300), taken
        ),
        "PostgreSQL is started": partial(started, scene.postgres),
        "Redis is stopped": partial(stop, scene.redis),
        "Redis is started": partial(started, scene.redis),
        "Redis has no memory left for the results of 20 orders": full,
        "Redis gets memory": lambda: client.config_set("maxmemory", 0),
        "a replica with a venue that is away gets 16 orders": without_venue,
        "the venue is back": venue_returns,
    }


def stop(server: Server | None) -> None:
    """Stop a server that the test owns."""
    assert server is not None
    server.stop()


def _redis_loss(scene: Scene) -> dict[str, Event]:
    client: Any = scene.deployment.redis

    def old_and_new() -> None:
        scene.begin_with(600)
        old = "substr(order_id, 7)::int < 200"
        aged = f"UPDATE orders SET recorded_at = recorded_at - interval '1 hour' WHERE {old}"  # noqa: S608
        scene.execute(aged)

    return {
        "a replica has settled 600 orders, 200 of them an hour ago": old_and_new,
        "Redis loses everything": client.flushall,
        "somebody deletes the results": lambda: client.delete(scene.deployment.results),
    }


def _audit(scene: Scene) -> dict[str, Event]:
    def settled() -> None:
        scene.begin_with(12)
        scene.deployment.submit([{"payload": "{not json"}, {**numbered_orders(1)[0], "quantity": "77"}])
        scene.settle()
        scene.drain()

    return {
        "a replica settles 12 orders, one entry that is no order and one conflict": settled,
        "much is broken by hand": partial(break_everything, scene),
        "a replica works": one_after_another(scene.start, scene.settle),
    }


def _database_loss(scene: Scene) -> dict[str, Event]:
    def backed_up() -> None:
        made = scene.opened.enter_context(venue(scene.folder, deduplicating=True))
        scene.settings |= {"executor": "venue", "venue_url": made.url}
        scene.begin_with(150)
        scene.backup = list(scene.deployment.rows())
        first = scene.submit(100, 150)
        scene.settle()
        scene.deployment.redis.xdel("orders", *first[:10])

    return {
        "150 orders, a backup, 100 orders more, ten of them trimmed since": backed_up,
        "PostgreSQL is restored from the backup": one_after_another(scene.drain, partial(restore, scene)),
        "a replica is started": scene.start,
    }


def restore(scene: Scene) -> None:
    """Take away every row that was not there when the backup was made."""
    with scene.deployment.database.transaction() as connection:
        for table in ("trades", "orders"):
            gone = f"DELETE FROM {table} WHERE NOT order_id = ANY(:kept)"  # noqa: S608  one of two names
            connection.execute(text(gone), {"kept": scene.backup})


def _zombie(scene: Scene) -> dict[str, Event]:
    scene.settings = dict(SHORT)

    def sleeps() -> None:
        scene.submit(20)
        command = (sys.executable, "-m", "tests.faults.victim", "after COMMIT", "stop")
        zombie = scene.start("zombie", command)
        eventually(zombie.is_stopped)

    def wakes() -> None:
        scene.replicas["zombie"].signal(signal.SIGCONT)

    return {
        "a replica falls asleep with 20 orders in hand": sleeps,
        "another replica is started": scene.start,
        "the sleeper wakes up": wakes,
    }


def _poison(scene: Scene) -> dict[str, Event]:
    scene.settings = {**SHORT, "max_deliveries": 3}

    def one_life() -> None:
        replica = WorkerProcess(
            scene.deployment, scene.folder / "worker.log", COMMAND, **scene.settings,
            executor=f"{EXECUTORS}:Killing",
        )  # fmt: skip
        scene.opened.callback(replica.end)
        eventually(lambda: _ended(replica) or scene.deployment.all_settled(), within=40)
        if not _ended(replica):
            assert replica.drain() == 0

    def until_it_stays() -> None:
        while not scene.deployment.letters():
            one_life()

    def poisoned() -> None:
        orders = numbered_orders(6)
        orders[3]["client_id"] = "poison-1"
        scene.deployment.submit(orders)
        one_life()
        one_life()

    return {
        "one of 6 orders takes its process down, twice": poisoned,
        "its replica is started again until it stays": until_it_stays,
        "the executor is mended": scene.start,
    }


def _ended(replica: WorkerProcess) -> bool:
    try:
        replica.wait(within=0.02)
    except subprocess.TimeoutExpired:
        return False
    return True


def _schema(scene: Scene) -> dict[str, Event]:
    database = scene.deployment.database_name

    def used_by_others() -> None:
        scene.execute(
            DROP_ALL,
            "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
            "INSERT INTO alembic_version VALUES ('d259a9bca9e7')",
            "CREATE TABLE orders (id int)",
        )

    def given_a_schema() -> None:
        scene.execute(
            "CREATE SCHEMA orders_worker AUTHORIZATION CURRENT_USER",
            f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET search_path = orders_worker",
        )

    def as_before() -> None:
        scene.execute(
            "DROP SCHEMA orders_worker CASCADE",
            f"ALTER ROLE CURRENT_USER IN DATABASE {database} RESET search_path",
            "DROP TABLE public.orders, public.alembic_version",
        )
        # Its sessions have the search path that they began with.
        scene.deployment.database.close()

    return {
        "another program has made its tables here": used_by_others,
        "somebody follows that": given_a_schema,
        "the tables are in the usual place, and none has been made": as_before,
        "a replica is started": scene.start,
        "a newer version migrates": lambda: scene.execute(
            "UPDATE orders_worker_version SET version_num = '9999'"
        ),
        "another replica of this version is started": partial(scene.start, "old"),
    }


def _unsafe(scene: Scene) -> dict[str, Event]:
    def evicts() -> None:
        scene.deployment.redis.config_set("maxmemory", "1gb")
        scene.deployment.redis.config_set("maxmemory-policy", "allkeys-lru")

    return {
        "a replica works": partial(scene.begin_with, 10),
        "Redis is made to evict": evicts,
    }


EVENTS: dict[str, Callable[[Scene], dict[str, Event]]] = {
    "backlog-grows": _backlog,
    "pending": _pending,
    "dead-letters": _letters,
    "outage": _outage,
    "redis-data-loss": _redis_loss,
    "audit": _audit,
    "postgresql-data-loss": _database_loss,
    "zombie": _zombie,
    "poison": _poison,
    "schema": _schema,
    "unsafe-server": _unsafe,
}
