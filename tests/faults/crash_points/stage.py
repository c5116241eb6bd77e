"""Plays the matrix: what a cell needs is made ready, a victim suffers, others finish, all is checked."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import text

from local.directory import free_port
from tests.faults.crash_points.executor import REFUSED
from tests.faults.crash_points.points import Cell, Scene
from tests.faults.forkserver import ForkedWorker, Forkserver
from tests.faults.reporting import record
from tests.faults.trials import TIMES, looping
from tests.faults.victim import REACHED
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from worker.consumer import Tally
from worker.domain.orders import Status

MAX_DELIVERIES = 5
POISON = "order-0"
# Reasons of dead letters, whatever comes in between.
BURIED = Counter({b"poison": 1, b"database_rejected": 1, b"undecodable": 1})
# Which of the two is executed is decided by who comes first.
CONTESTED = "order-3"
LONG_LEASE = {"lease_ms": 60_000, "transaction_timeout_s": 5, "execute_timeout_s": 5}
SHORT_LEASE_S = 0.4
SHORT_LEASE = {
    "lease_ms": int(SHORT_LEASE_S * 1000),
    "transaction_timeout_s": 0.3,
    "execute_timeout_s": 0.3,
}
USUAL: Mapping[str, object] = {
    "executor": "tests.faults.crash_points.executor:Treated",
    "block_ms": 20,
    "max_deliveries": MAX_DELIVERIES,
}


class Stage:
    """One deployment for many cells, one after the other."""

    def __init__(self, deployment: Deployment, forks: Forkserver, folder: Path) -> None:
        self.deployment = deployment
        self.tallies: list[Tally] = []
        self._forks = forks
        self._folder = folder
        self._usual: dict[Scene, dict[str, dict[str, str]]] = {}

    @contextmanager
    def suffering(self, cell: Cell) -> Iterator[ForkedWorker]:
        """Begin the block when the victim has come to its point."""
        self.set(cell.point.scene, cell.seed)
        command = self.replaying if cell.point.is_of_command else ()
        with self.victim(cell.point.name, cell.way, cell.turn, *command, **settings_of(cell)) as process:
            self.reach(process, cell.point.name)
            record("crash_points", cell.point.name, way=cell.way, seed=cell.seed, faults=1)
            yield process

    def recover(self, cell: Cell, *, by_itself: bool = False) -> None:
        """Let others finish, and check all. `by_itself`: what is left must be claimable without waiting."""
        if cell.point.is_of_command:
            assert self.command(*self.replaying) in {0, 1}
        if cell.point.is_of_command or not self.is_done():
            if not by_itself:
                self.age()
            self.finish()
        self.check(cell.point.scene)

    @property
    def replaying(self) -> tuple[str, ...]:
        """The command that replays the dead letter of the poison order."""
        letters = self.deployment.entries(self.deployment.dead_letters)
        (found,) = [
            letter_id for letter_id, fields in letters if dict(fields).get("order_id") == POISON.encode()
        ]
        return ("dead", "replay", found, "--yes")

    def set(self, scene: Scene, seed: int) -> None:
        """Bring everything to where the victim begins."""
        self.clean()
        self._submit(Random(seed), with_letters=scene != "lost")  # noqa: S311  no secret
        if scene == "committed":
            with self.victim("after COMMIT", "kill", **LONG_LEASE) as first:
                self.reach(first, "after COMMIT")
                first.wait()
            self.age(charged=MAX_DELIVERIES)
        elif scene in {"letters", "lost"}:
            self.finish()
        if scene == "lost":
            self.deployment.redis.delete(self.deployment.results, *self.deployment.mark_keys)

    def victim(
        self, point: str, way: str, turn: int = 1, *command: str, **overrides: object
    ) -> AbstractContextManager[ForkedWorker]:
        """Run a victim, or a command that is one."""
        return self._forks.running(
            self.deployment, self._folder / f"{time.monotonic_ns()}.log",
            "victim", point, way, str(turn), *command, **{**USUAL, **overrides},
        )  # fmt: skip

    def command(self, *arguments: str) -> int:
        """Run a command to its end, and return its exit code."""
        log = self._folder / f"{time.monotonic_ns()}.log"
        with self._forks.running(self.deployment, log, "worker", *arguments, **USUAL) as process:
            return process.wait()

    def reach(self, process: ForkedWorker, point: str) -> None:
        """Return when the victim has come to its point; fail when it never does."""
        process.await_word(f"{REACHED}: {point}")

    def age(self, charged: int | None = None) -> None:
        """Let the leases of all that is pending have run out long ago."""
        deployment = self.deployment
        found: Any = deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 1000)
        for each in found:
            deployment.redis.xclaim(
                deployment.orders, deployment.group, each["consumer"], 0, [each["message_id"]],
                idle=3_600_000, retrycount=charged, justid=True,
            )  # fmt: skip

    @contextmanager
    def peer(self, **lease: object) -> Iterator[None]:
        """Run another replica beside the block; it drains at the end."""
        environment = self.deployment.environment(
            health_port=free_port(), **{**USUAL, "block_ms": 5, **(lease or LONG_LEASE)}
        )
        with looping(self.deployment, environment) as (made, thread):
            thread.start()
            yield
        self.tallies.append(made.worker.tally)

    def finish(self) -> None:
        """Let another replica do what is left, and go. It waits for no lease to run out."""
        with self.peer():
            eventually(self.is_done)

    def is_done(self) -> bool:
        """Whether all is settled, and every row that is owed a result has one."""
        deployment = self.deployment
        if not deployment.all_settled():
            return False
        with deployment.database.transaction() as connection:
            owed = connection.scalar(
                text("SELECT count(*) FROM orders WHERE status NOT IN ('DEAD', 'SUBMITTED')")
            )
        return bool(deployment.redis.xlen(deployment.results) >= (owed or 0))

    def somebody_waits_for_a_lock(self) -> bool:
        """Whether a transaction waits for another's row."""
        with self.deployment.database.transaction() as connection:
            waiting = connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            )
        return bool(waiting)

    def check(self, scene: Scene) -> None:
        """Nothing is lost, nothing doubled, and all results are as they are without any harm."""
        deployment = self.deployment
        self._accept_replays()
        assert_invariants(deployment, *self.tallies)
        here = self._results()
        if scene not in self._usual:
            self._usual[scene] = here
        usual = self._usual[scene]
        reasons = Counter(letter["reason"] for letter in deployment.letters())
        contested = reasons.pop(b"conflict", 0)
        assert here.keys() == usual.keys()
        for order_id in here.keys() - {CONTESTED}:
            assert here[order_id] == usual[order_id]
        if scene == "lost":
            assert not reasons
            assert not contested
        else:
            assert reasons == BURIED, reasons
            # Two, where the first of the three entries was the last to be executed.
            assert contested in {1, 2}
        if scene == "letters":
            assert deployment.rows()[POISON].status in {Status.FILLED, Status.REJECTED}

    def clean(self) -> None:
        """Leave nothing of the last cell."""
        deployment = self.deployment
        keys = deployment.all_keys()
        if keys:
            deployment.redis.delete(*keys)
        with deployment.database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM trades")
            connection.exec_driver_sql("DELETE FROM orders")
            # The stream of before is not to look like a second one.
            connection.exec_driver_sql("DELETE FROM order_sources")
        deployment.accepted.clear()
        self.tallies.clear()

    def _submit(self, chance: Random, *, with_letters: bool) -> None:
        deployment = self.deployment
        orders = numbered_orders(12)
        deployment.submit(orders[:3])
        take_and_vanish(deployment, 1, MAX_DELIVERIES if with_letters else 1, consumer="poisoned")
        take_and_vanish(deployment, 2)
        others: list[dict[str, str]] = [
            *orders[4:10], {**orders[10], "quantity": "0"}, orders[3],
        ]  # fmt: skip
        if with_letters:
            others += [{**orders[11], "client_id": REFUSED}, {**orders[3], "quantity": "1"}]
        chance.shuffle(others)
        deployment.submit([orders[3], *others])
        if with_letters:
            deployment.add_raw("payload", "{")

    def _accept_replays(self) -> None:
        self.deployment.accepted += [
            entry_id
            for entry_id, fields in self.deployment.entries(self.deployment.orders)
            if "replay_of" in dict(fields) and entry_id not in self.deployment.accepted
        ]

    def _results(self) -> dict[str, dict[str, str]]:
        return {
            result["order_id"]: {name: value for name, value in result.items() if name not in TIMES}
            for result in self.deployment.published()
        }


def settings_of(cell: Cell) -> dict[str, object]:
    """Return what is set for the victim of a cell."""
    chance = Random(cell.seed)  # noqa: S311  no secret
    short = cell.point.renews or cell.way in {"stop", "slow"}
    settings: dict[str, object] = {
        **(SHORT_LEASE if short else LONG_LEASE),
        "batch_size": chance.choice((16, 5, 3)),
    }
    if cell.point.reads_ahead:
        settings["batch_size"] = 3
    elif cell.seed == 0:
        settings["batch_size"] = 16
    if cell.way == "hang":
        settings |= {"drain_timeout_s": 0.2, "execute_timeout_s": 0.3}
    return settings
