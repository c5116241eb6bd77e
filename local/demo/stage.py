"""Where the story takes place: servers, two replicas and a producer, in a folder of their own."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from redis import Redis

from local.demo.commands import Commands
from local.demo.deadly import EXECUTOR
from local.demo.producer import Producer
from local.demo.promises import BrokenPromiseError
from local.demo.streams import Streams
from local.directory import is_free
from local.postgres import LocalPostgres
from local.redis import LocalRedis
from local.replicas import Replica, await_ready, drain, free_ports

REPLICAS = 2
LEASE_S = 5
MAX_DELIVERIES = 3
SETTINGS = {
    "WORKER_EXECUTOR": EXECUTOR,
    "WORKER_LEASE_MS": str(LEASE_S * 1000),
    "WORKER_EXECUTE_TIMEOUT_S": "4",
    "WORKER_TRANSACTION_TIMEOUT_S": "4",
    "WORKER_MAX_DELIVERIES": str(MAX_DELIVERIES),
    # Shared by both replicas, however fast one of them reads.
    "WORKER_BATCH_SIZE": "25",
    "WORKER_BLOCK_MS": "500",
}
RUSH = 60
RUSHES = 20
GLANCE_S = 0.005


class Stage:
    """What the story acts upon."""

    def __init__(self, folder: Path, redis: LocalRedis, postgres: LocalPostgres, client: Redis) -> None:
        self.redis = redis
        self.postgres = postgres
        self.producer = Producer(client)
        self.streams = Streams(client, postgres.url)
        self._environ = {**environ_of(os.environ), "REDIS_URL": redis.url, "DATABASE_URL": postgres.url}
        self.commands = Commands(self._environ)
        self.team: list[Replica] = []
        self._logs = folder / "log"

    def start_replicas(self) -> None:
        """Start all replicas, and return when they take orders."""
        self._logs.mkdir()
        for number, port in enumerate(free_ports(REPLICAS), start=1):
            self.team.append(self._replica(number, port))
        await_ready(self.team)

    def kill_with_orders_in_hand(self, victim: Replica) -> list[str]:
        """Send orders until the replica holds some, kill it, and return the entries that it holds."""
        for _ in range(RUSHES):
            rush = self.producer.rush(RUSH)
            while not self.streams.are_acked_up_to(rush[-1].entry_id):
                if self.streams.held_by(victim.process.pid):
                    # It might settle them between the look and the kill.
                    victim.process.pause()
                    if held := self.streams.held_by(victim.process.pid):
                        victim.process.kill()
                        return held
                    victim.process.resume()
                time.sleep(GLANCE_S)
        raise BrokenPromiseError(f"{victim.name} was never seen with orders in hand.")

    def revive(self) -> list[int]:
        """Start those replicas again that have ended, and return their exit codes.

        Each has its port, or another where somebody has taken that meanwhile.
        """
        codes = []
        for place, replica in enumerate(self.team):
            code = replica.process.poll()
            if code is not None:
                codes.append(code)
                port = replica.port if is_free(replica.port) else self._other_port()
                self.team[place] = self._replica(place + 1, port)
        return codes

    def _other_port(self) -> int:
        ours = {replica.port for replica in self.team}
        return next(port for port in free_ports(REPLICAS + 1) if port not in ours)

    def duplicates(self) -> int:
        """Return how many duplicates the replicas have counted since they were started."""
        for replica in self.team:
            replica.refresh()
        return sum(replica.counts.duplicate for replica in self.team)

    def drain(self) -> list[int]:
        """End all replicas in good order, and return their exit codes."""
        return drain(self.team)

    def end(self) -> None:
        """Kill the replicas that still run."""
        for replica in self.team:
            replica.process.kill()

    def _replica(self, number: int, port: int) -> Replica:
        return Replica(number, port, {**self._environ, "WORKER_CONSUMER": f"replica-{number}"}, self._logs)


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    """Yield a stage with servers that are up; whatever was started on it ends with the block."""
    with ExitStack() as opened:
        redis, postgres = LocalRedis(folder / "redis"), LocalPostgres(folder / "postgres")
        for server in (redis, postgres):
            opened.callback(server.stop)
            server.start()
        client = opened.enter_context(closing(Redis.from_url(redis.url, decode_responses=True)))
        stage = Stage(folder, redis, postgres, client)
        opened.callback(stage.end)
        yield stage


def environ_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the demo's environment: nothing of what is meant for the user's own replicas is in it."""
    own = ("WORKER_", "REDIS_URL", "DATABASE_URL")
    return {name: value for name, value in environ.items() if not name.startswith(own)} | SETTINGS
