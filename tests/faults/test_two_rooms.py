"""What a second machine room saves of the orders that were acknowledged when the first one goes dark.

A primary in one room, its replica in another behind a line. The line is cut, then the primary dies, and the
replica takes its place. Lost is what a producer was told is added, and the replica does not have.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from statistics import median
from threading import Event, Thread
from typing import Any, Self

import pytest
import redis

from local import LocalRedis
from local.directory import free_port
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.gathering import LOOPBACK, asked, made_in
from tests.harness import eventually
from tests.processes import ROOT
from worker.client import ClientError, Order, Producer, connect
from worker.client.adding import How

PRODUCERS = 8
TIMES, ROUNDS = (5, 10) if CHAOS else (1, 1)
BEFORE_S = 2.0 if CHAOS else 0.5
# Replicas say once a second how far they are, so less than two would refuse orders for nothing.
LAG_S = 2
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Protection:
    """What is set at the servers, and how orders are added."""

    settings: Mapping[str, str] = field(default_factory=dict)
    how: How = field(default_factory=How)


PROTECTIONS = {
    "none": Protection(),
    "min-replicas": Protection({"min-replicas-to-write": "1", "min-replicas-max-lag": str(LAG_S)}),
    "WAIT": Protection(how={"replicas": 1, "confirmed_within_s": 1}),
}
# How many milliseconds bytes take through the line, and for how long it is cut before the primary dies.
LINES = {"near": (0, 0.0), "far": (10, 0.0), "cut": (0, 5.0)} if CHAOS else {"cut": (0, 1.0)}


@contextmanager
def line_to(server: LocalRedis, delay_ms: int) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Give a port that leads to a server, and the process that passes bytes on: it can be stopped."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.network", str(port), str(server.port), str(delay_ms)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield port, process
    finally:
        process.kill()
        process.wait()


@contextmanager
def two_rooms(
    folder: Path, delay_ms: int, settings: Mapping[str, str]
) -> Iterator[tuple[LocalRedis, LocalRedis, "subprocess.Popen[bytes]"]]:
    """Give a primary, its replica in step, and the line between them."""
    password = token_hex(8)
    options = {"repl-diskless-sync-delay": "0", **settings}
    primary = made_in(folder / "here", password, free_port(), **options)
    with line_to(primary, delay_ms) as (port, line):
        replica = made_in(folder / "there", password, free_port(), replicaof=f"{LOOPBACK} {port}", **options)
        with asked(primary) as client:
            eventually(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        try:
            yield primary, replica, line
        finally:
            primary.kill()
            replica.kill()


class Producers:
    """Producers that add orders one after another, and keep their own log of what they were told."""

    def __init__(self, url: str, how: How) -> None:
        self.told: list[str] = []
        self.refused = 0
        self._over = Event()
        self._clients = [connect(url) for _ in range(PRODUCERS)]
        once: How = {**how, "attempts": 1}
        producers = [Producer(client, **once) for client in self._clients]
        self._threads = [Thread(target=self._add, args=(producer,)) for producer in producers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def rate_over(self, seconds: float) -> float:
        """Return how many orders a second they are told of, once each has been told of one."""
        eventually(lambda: len(self.told) > PRODUCERS)
        began, had = time.monotonic(), len(self.told)
        eventually(lambda: time.monotonic() - began > seconds)
        return (len(self.told) - had) / (time.monotonic() - began)

    def _add(self, producer: Producer) -> None:
        while not self._over.is_set():
            try:
                added = producer.add(Order("BTC/USD", "BUY", "0.5", price=61000))
            except (redis.RedisError, ClientError):
                self.refused += 1
                self._over.wait(0.01)
            else:
                self.told.append(added.order_id)


@dataclass(frozen=True)
class Outcome:
    """What came of one time: acknowledged, lost of these, refused."""

    told: int
    lost: int
    refused: int


def kept_by(server: LocalRedis) -> set[str]:
    with asked(server) as client:
        return {fields["order_id"] for _, fields in client.xrange("orders")}


def gone_dark(folder: Path, line_is: str, protection: Protection) -> Outcome:
    """Have orders added, cut the line, let the primary die, and promote the replica."""
    delay_ms, cut_s = LINES[line_is]
    with two_rooms(folder, delay_ms, protection.settings) as (primary, replica, line):
        with Producers(primary.url, protection.how) as producers:
            producers.rate_over(BEFORE_S)
            line.send_signal(signal.SIGSTOP)
            cut_at = time.monotonic()
            eventually(lambda: time.monotonic() - cut_at >= cut_s)
            primary.kill()
            refused = producers.refused
        with asked(replica) as client:
            client.replicaof("NO", "ONE")
        told = producers.told
        return Outcome(len(told), len(set(told) - kept_by(replica)), refused)


@pytest.mark.parametrize("protection", PROTECTIONS if CHAOS else ("none", "WAIT"))
@pytest.mark.parametrize("line_is", LINES)
def test_orders_that_a_dark_room_takes_along(tmp_path: Path, line_is: str, protection: str) -> None:
    """Proves that an order which a replica has confirmed is not lost, and shows what else would have been."""
    outcomes = [
        gone_dark(tmp_path / str(number), line_is, PROTECTIONS[protection]) for number in range(TIMES)
    ]

    assert all(each.told for each in outcomes)
    if protection == "WAIT":
        assert [each.lost for each in outcomes] == [0] * TIMES
    elif line_is == "cut":
        # Else it was no measure of anything.
        assert all(each.lost for each in outcomes)
    if protection == "min-replicas" and line_is == "cut":
        assert all(each.refused for each in outcomes)
    _recorded(line_is, protection, outcomes)


def _recorded(line_is: str, protection: str, outcomes: Sequence[Outcome]) -> None:
    figures: dict[str, Any] = {
        "acknowledged": sum(each.told for each in outcomes),
        "lost": sum(each.lost for each in outcomes),
        "worst_lost": max(each.lost for each in outcomes),
        "refused": sum(each.refused for each in outcomes),
    }
    record("two rooms", f"{line_is} {protection}", times=TIMES, **figures)


@pytest.mark.parametrize("line_is", ["near", "far"] if CHAOS else ["cut"])
def test_replica_has_all_while_the_line_holds_and_what_each_protection_costs(
    tmp_path: Path, line_is: str
) -> None:
    """Measures in turn, so that whatever else the machine does slows down all alike."""
    rates: dict[str, list[float]] = {name: [] for name in PROTECTIONS}
    told: list[str] = []
    with two_rooms(tmp_path, LINES[line_is][0], {}) as (primary, replica, _):
        for name in [*PROTECTIONS] * ROUNDS:
            protection = PROTECTIONS[name]
            least = protection.settings.get("min-replicas-to-write", 0)
            with asked(primary) as client:
                client.config_set("min-replicas-to-write", least)
                client.config_set("min-replicas-max-lag", LAG_S)
            with Producers(primary.url, protection.how) as producers:
                rates[name].append(producers.rate_over(BEFORE_S / 2))
            told += producers.told
        eventually(lambda: set(told) <= kept_by(replica))
    of_none = {
        name: median(mine / none for mine, none in zip(rates[name], rates["none"], strict=True))
        for name in PROTECTIONS
    }
    shares = {name: round(share, 2) for name, share in of_none.items()}
    record("two rooms", f"{line_is} rate", rounds=ROUNDS, **shares)
