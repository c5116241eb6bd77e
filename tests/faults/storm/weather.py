"""Lets the faults of a plan strike."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from threading import Thread
from typing import assert_never

import psycopg
import redis

from local import LocalPostgres, LocalRedis
from tests.faults.storm.ends import impatient
from tests.faults.storm.plan import Fault, Kind
from tests.faults.storm.replicas import Place
from tests.faults.storm.steps import Crumbs, Step
from tests.harness import Deployment

# How long a kill waits for a replica to come to a step, before it takes any.
PATIENCE_S = 2.0
GLANCE_S = 0.0001
LONGEST_DOWN_S = 0.5
# What a sleeper sleeps beyond its lease.
MOST_OVERSLEPT_S = 1.0
_WORKER = "orders-worker"


class Weather:
    """Strikes replicas, servers and connections. A fault that can't strike now is to be tried again."""

    def __init__(
        self,
        deployment: Deployment,
        places: list[Place],
        redis_server: LocalRedis,
        postgres_server: LocalPostgres,
        lease_s: float,
        crumbs: Crumbs,
    ) -> None:
        self._deployment = deployment
        self._places = places
        self._servers: dict[Kind, LocalRedis | LocalPostgres] = {
            "redis crash": redis_server,
            "postgresql crash": postgres_server,
        }
        self._lease_s = lease_s
        self._crumbs = crumbs
        self._restarts: dict[Kind, Thread] = {}
        self._missed: deque[Step] = deque()
        self._submit: Callable[[], None] = lambda: None
        self.struck: list[tuple[float, Kind]] = []
        # From when until when a server was down.
        self.down: list[tuple[float, float]] = []

    @property
    def counts(self) -> Counter[str]:
        """How many of each kind struck."""
        return Counter(kind for _, kind in self.struck)

    @property
    def servers_are_up(self) -> bool:
        """Whether no server is being started again."""
        return not any(thread.is_alive() for thread in self._restarts.values())

    def strike(self, fault: Fault, submit: Callable[[], None]) -> bool:
        """Let a fault strike, and have orders submitted once it is aimed; return whether it could."""
        self._submit = submit
        match fault.kind:
            case "kill" | "stop":
                return self._strike_replica(fault)
            case "redis crash" | "postgresql crash":
                return self._crash(fault)
            case "reset":
                return self._reset(fault)
        assert_never(fault.kind)

    def _note(self, fault: Fault) -> None:
        self.struck.append((time.monotonic(), fault.kind))

    def settle_down(self) -> None:
        """Return when every server is up again."""
        for thread in self._restarts.values():
            thread.join()

    def _strike_replica(self, fault: Fault) -> bool:
        if fault.kind == "kill" and self._kill_first(fault):
            self._note(fault)
            return True
        place = self._place(fault)
        # What is killed may have been about to die of an order.
        if place is None or (fault.kind == "kill" and not place.kill()):
            return False
        self._note(fault)
        if fault.kind == "stop":
            place.stop(time.monotonic() + self._lease_s + 0.1 + fault.draw * MOST_OVERSLEPT_S)
        return True

    def _kill_first(self, fault: Fault) -> bool:
        """Kill who comes to a step first: the fault's, or one to which nobody came in time before."""
        if fault.first and fault.step is not None and fault.step not in self._missed:
            self._missed.append(fault.step)
        if not self._missed or (fault.step is not None and not fault.first):
            return False
        step = self._missed.popleft()
        struck = self._kill_first_at(step)
        if not struck:
            self._missed.append(step)
        return struck

    def _kill_first_at(self, step: Step) -> bool:
        self._crumbs.aim(step)
        self._submit()
        deadline = time.monotonic() + PATIENCE_S
        while not any(place.was_killed for place in self._places):
            if time.monotonic() >= deadline and self._crumbs.withdraw():
                return False
            time.sleep(GLANCE_S)
        return True

    def _place(self, fault: Fault) -> Place | None:
        self._submit()
        deadline = time.monotonic() + PATIENCE_S
        while fault.step is not None and not fault.first and time.monotonic() < deadline:
            for place in self._places:
                if fault.step in place.steps() and place.can_be_struck:
                    return place
            time.sleep(GLANCE_S)
        awake = [place for place in self._places if place.can_be_struck]
        # Somebody is left to go on with the work while others sleep.
        if not awake or (fault.kind == "stop" and len(awake) < len(self._places) // 2):
            return None
        return awake[int(fault.draw * len(awake))]

    def _crash(self, fault: Fault) -> bool:
        if fault.kind in self._restarts and self._restarts[fault.kind].is_alive():
            return False
        server = self._servers[fault.kind]

        def crash() -> None:
            began = time.monotonic()
            server.kill()
            time.sleep(fault.draw * LONGEST_DOWN_S)
            server.start()
            self.down.append((began, time.monotonic()))

        self._note(fault)
        self._restarts[fault.kind] = Thread(target=crash)
        self._restarts[fault.kind].start()
        return True

    def _reset(self, fault: Fault) -> bool:
        chance = random.Random(fault.draw)  # noqa: S311  no secret
        try:
            found = chance.choice([self._reset_redis, self._reset_postgres])(chance)
        except (redis.RedisError, psycopg.Error, OSError):
            return False
        if found:
            self._note(fault)
        return found

    def _reset_redis(self, chance: random.Random) -> bool:
        with impatient(self._deployment.servers.redis_url) as client:
            found = [each["id"] for each in client.client_list() if each["name"].startswith(_WORKER)]
            return bool(found) and bool(client.client_kill_filter(_id=chance.choice(found)))

    def _reset_postgres(self, chance: random.Random) -> bool:
        with psycopg.connect(self._deployment.database_url, autocommit=True, connect_timeout=2) as connection:
            asked = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s", [f"{_WORKER}%"]
            )
            found = [pid for (pid,) in asked]
            if not found:
                return False
            done = connection.execute("SELECT pg_terminate_backend(%s)", [chance.choice(found)]).fetchone()
            return done == (True,)
