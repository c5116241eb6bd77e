"""The storm itself: orders go in while everything fails, until all of them are settled."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, reduce
from itertools import cycle
from operator import add
from pathlib import Path
from typing import Any

import redis

from local import LocalPostgres, LocalRedis
from local.directory import free_port
from tests.faults.executors import NOTES
from tests.faults.forkserver import Forkserver
from tests.faults.storm.figures import Account, Recovery, recovery, spread
from tests.faults.storm.fleet import Fleet
from tests.faults.storm.plan import Fault, Size, plan
from tests.faults.storm.replicas import Place
from tests.faults.storm.steps import Crumbs, Step
from tests.faults.storm.traffic import Kind
from tests.faults.storm.weather import Weather
from tests.harness import Deployment
from tests.processes import ROOT
from worker.consumer import Tally

REPLICAS = 4
LEASE_S = 1.0
# Small, so that much of the time goes into the steps between the servers.
BATCH = 20
# An innocent order is charged when the one that executes it is killed: in a batch first, then among 32, from
# then on alone, in some milliseconds each. With a kill every half a second for four replicas one or two lone
# executions in a hundred are hit, and some three thousand orders of a storm come to be executed alone: that
# one of them is hit six times is a chance below one in a million; three times, which the default of 5 would
# bury, one in a hundred. Poison is told from bad luck at any limit; a higher one only makes it kill more
# often.
MAX_DELIVERIES = 8
# How far the producer is ahead of the faults, so that there is work when the next one strikes; and how much
# work may wait before faults do, so that they are spread over all of it.
AHEAD = 500
# What of it is only submitted once a fault is aimed: many a step is passed by those alone who have much to
# do.
AHEAD_OF_AIM = 300
MOST_WAITING = 1000
LOOK_EVERY_S = 0.002
ASK_EVERY_S = 0.2
# Once the last fault has struck. A poison order takes as many leases, scans and starts as it is delivered.
CALM_WITHIN_S = 60.0
CALM_WITHIN_S_A_POISON = 5.0


@dataclass(frozen=True)
class Aftermath:
    """What a storm left behind."""

    deployments: Sequence[Deployment]
    size: Size
    seed: int
    kinds: Counter[Kind]
    poisonous: frozenset[str]
    faults: Counter[str]
    ends: Counter[str]
    # One figure for each tree from which replicas were started.
    kills_by_version: list[int]
    killed_at: Counter[Step]
    account: Account
    recovery: dict[str, Recovery]
    longest_down_s: float
    executions: Counter[str]
    tallies: list[Tally]
    duration_s: float

    @property
    def figures(self) -> dict[str, Any]:
        """All of it as a table row."""
        found, every = self.account, self.recovery["all"]
        latency = spread(found.seconds_to_result)
        return {
            "seed": self.seed,
            "faults": self.faults.total(),
            **{f"faults: {kind}": count for kind, count in sorted(self.faults.items())},
            "deaths by poison": self.ends["poison"],
            "ends": dict(self.ends),
            "fleets": len(self.deployments),
            "kills_by_version": self.kills_by_version,
            "orders": self.kinds.total(),
            **{f"orders: {kind}": count for kind, count in sorted(self.kinds.items())},
            "lost": found.lost,
            "doubled": found.doubled,
            "missing_results": found.missing_results,
            "results_seen_twice": found.seen_twice,
            "results_unseen": found.unseen,
            "entries_forgotten_by_redis": found.forgotten_by_redis,
            "innocents_buried": found.innocents_buried,
            "dead_letters": dict(found.dead),
            "median_recovery_s": every.median_s,
            "p99_recovery_s": every.p99_s,
            "worst_recovery_s": every.worst_s,
            "recovery_by_kind_s": {
                kind: [each.median_s, each.p99_s, each.worst_s] for kind, each in self.recovery.items()
            },
            "longest_down_s": round(self.longest_down_s, 1),
            "order_to_result_s": [latency.median_s, latency.p99_s, latency.worst_s],
            "most_executions_of_a_poison": max(self.executions.values(), default=0),
            "duration_s": round(self.duration_s, 1),
            "orders_per_s": round(self.kinds.total() / self.duration_s),
            "kills_by_step": {step.text: self.killed_at[step] for step in Step if self.killed_at[step]},
        }


class Storm:
    """One storm over a deployment, or several whose entries have equal ids, on one Redis and one database.

    Its replicas are those of the versions in the trees, in turn.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        redis_server: LocalRedis,
        postgres_server: LocalPostgres,
        folder: Path,
        size: Size,
        seed: int,
        trees: Sequence[Path] = (ROOT,),
    ) -> None:
        self._servers = redis_server, postgres_server
        self._folder = folder
        self._size = size
        self._seed = seed
        self._trees = trees
        self._fleets: list[Fleet] = []
        for deployment in deployments:
            first = self._fleets[0] if self._fleets else None
            self._fleets.append(Fleet(deployment, size.orders // len(deployments), seed, first))
        self._notes = folder / "executions"
        self._notes.touch()
        self._asked_at = 0.0

    def run(self) -> Aftermath:
        """Return once everything is settled and the replicas have left."""
        crumbs = Crumbs.made(self._folder / "crumbs", REPLICAS)
        began = time.monotonic()
        with ExitStack() as opened:
            servers = [opened.enter_context(Forkserver(tree)) for tree in self._trees]
            places = [
                Place(
                    number, forks, partial(self._environment, fleet.deployment), crumbs,
                    self._folder / f"replica-{number}.log",
                )
                for number, fleet, forks in zip(
                    range(REPLICAS), cycle(self._fleets), cycle(servers), strict=False
                )
            ]  # fmt: skip
            weather = Weather(self._fleets[0].deployment, places, *self._servers, LEASE_S, crumbs)
            for fleet in self._fleets:
                fleet.reader.start()
            try:
                self._suffer(weather, places, plan(self._size, self._seed))
                self._calm_down(weather, places)
            finally:
                weather.settle_down()
            ended = time.monotonic()
            for place in places:
                place.ask_to_leave()
            for place in places:
                place.await_end()
        accounts = [fleet.finish() for fleet in self._fleets]
        return Aftermath(
            [fleet.deployment for fleet in self._fleets],
            self._size,
            self._seed,
            sum((fleet.sent.kinds for fleet in self._fleets), Counter[Kind]()),
            self._poisonous,
            weather.counts,
            sum((place.ends for place in places), Counter[str]()),
            [
                sum(place.ends["killed"] for place in places[first :: len(servers)])
                for first in range(len(servers))
            ],
            sum((place.killed_at for place in places), Counter[Step]()),
            reduce(add, accounts),
            recovery(weather.struck, weather.down, self._arrivals),
            max((ended - began for began, ended in weather.down), default=0.0),
            Counter(self._notes.read_text(encoding="utf-8").split()),
            [tally for place in places for tally in _tallies(place.log)],
            ended - began,
        )

    def _environment(self, deployment: Deployment) -> dict[str, str]:
        return deployment.process_environment(
            executor="tests.faults.executors:Killing", health_port=free_port(), batch_size=BATCH,
            max_deliveries=MAX_DELIVERIES, lease_ms=int(LEASE_S * 1000),
        ) | {NOTES: str(self._notes)}  # fmt: skip

    def _suffer(self, weather: Weather, places: list[Place], faults: list[Fault]) -> None:
        due_at = time.monotonic() + 1
        for number, fault in enumerate(faults):
            due_at = max(due_at, time.monotonic() - 1) + fault.after_s
            reached = self._size.orders * (number + 1) // len(faults) + AHEAD
            while True:
                self._turn(places, reached - AHEAD_OF_AIM)
                if (
                    time.monotonic() >= due_at
                    and self._waiting < MOST_WAITING
                    and weather.strike(fault, lambda: self._submit(reached))  # noqa: B023  called at once
                ):
                    break

    @property
    def _waiting(self) -> int:
        return sum(fleet.waiting for fleet in self._fleets)

    @property
    def _arrivals(self) -> list[float]:
        return sorted(at for fleet in self._fleets for at in fleet.reader.arrivals)

    @property
    def _poisonous(self) -> frozenset[str]:
        return frozenset().union(*(fleet.sent.poisonous for fleet in self._fleets))

    def _submit(self, up_to: int) -> None:
        for fleet in self._fleets:
            fleet.producer.submit(up_to // len(self._fleets))

    def _calm_down(self, weather: Weather, places: list[Place]) -> None:
        within = CALM_WITHIN_S + CALM_WITHIN_S_A_POISON * len(self._poisonous)
        deadline = time.monotonic() + within
        while not (
            all(fleet.producer.done for fleet in self._fleets)
            and weather.servers_are_up
            and self._all_settled()
            and all(place.is_at_work for place in places)
        ):
            assert time.monotonic() < deadline, f"not settled in time, see {self._folder}"
            self._turn(places, self._size.orders)

    def _turn(self, places: list[Place], submitted: int) -> None:
        for place in places:
            place.look(time.monotonic())
        self._submit(submitted)
        time.sleep(LOOK_EVERY_S)

    def _all_settled(self) -> bool:
        if time.monotonic() < self._asked_at + ASK_EVERY_S:
            return False
        self._asked_at = time.monotonic()
        try:
            return all(fleet.deployment.all_settled() for fleet in self._fleets)
        except (redis.RedisError, OSError):
            return False


def _tallies(log: Path) -> list[Tally]:
    lines = [json.loads(line) for line in log.read_text(errors="replace").splitlines() if '"drained"' in line]
    return [
        # The last version may count fewer things.
        Tally(**{name: line[name] for name in Tally.__struct_fields__ if name in line})
        for line in lines
        if line["event"] == "drained"
    ]
