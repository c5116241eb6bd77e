"""A replica comes to grief at each point, in every way; another finishes, and nothing is lost or doubled.

The points, and what can't come to pass at one of them, are listed in tests/faults/crash_points/points.py.
With CHAOS in the environment every cell is played with several seeds: other batches, other orders, a later
turn.
"""

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from tests.faults.crash_points.executor import REFUSES
from tests.faults.crash_points.points import POINTS, WAYS, Cell, Way, cells
from tests.faults.crash_points.stage import LONG_LEASE, SHORT_LEASE, SHORT_LEASE_S, Stage
from tests.faults.forkserver import Forkserver
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from worker.bootstrap.commands import schema
from worker.bootstrap.replica import EXIT_STOPPED

CRASHED = 1
SERVER_AWAY = 3
REPLICAS = 5


@pytest.fixture(scope="module")
def forks() -> Iterator[Forkserver]:
    with Forkserver() as server:
        yield server


@pytest.fixture(scope="module")
def stage(
    servers: Servers, template_database: str, forks: Forkserver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One deployment for all cells: making a database takes longer than playing one."""
    name = f"c{uuid.uuid4().hex[:12]}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'.encode())
        with Deployment(servers, name, name) as made:
            with made.database.transaction() as transaction:
                transaction.exec_driver_sql(REFUSES)
            stage = Stage(made, forks, tmp_path_factory.mktemp("victims"))
            yield stage
            stage.clean()
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def each_cell(*ways: Way) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cell", cells(*ways), ids=str)


def left_at_the_deadline(cell: Cell) -> set[int]:
    """Stopped while it executed, a replica has outlived its deadline, too, and may leave for that."""
    executes = cell.point.renews or cell.point.name in {"in execute", "after answer"}
    return {0, EXIT_STOPPED} if executes else {0}


@each_cell("kill")
def test_no_order_is_lost_or_doubled_when_a_replica_is_killed(stage: Stage, cell: Cell) -> None:
    with stage.suffering(cell) as dying:
        assert dying.wait() == -signal.SIGKILL

    stage.recover(cell)


@each_cell("stop")
def test_no_order_is_lost_or_doubled_when_a_replica_is_stopped_beyond_its_lease(
    stage: Stage, cell: Cell
) -> None:
    with stage.suffering(cell) as sleeping:
        eventually(sleeping.is_stopped)
        asleep_since = time.monotonic()
        stage.recover(cell)
        eventually(lambda: time.monotonic() - asleep_since > 1.2 * SHORT_LEASE_S)
        sleeping.signal(signal.SIGCONT)
        if cell.point.is_of_command:
            # It finds the letter closed by the other.
            assert sleeping.wait() in {0, 1}
        else:
            assert sleeping.drain() in left_at_the_deadline(cell)

    stage.recover(cell)


@each_cell("outage")
def test_no_order_is_lost_or_doubled_when_an_answer_never_arrives(stage: Stage, cell: Cell) -> None:
    with stage.suffering(cell) as deprived:
        if cell.point.is_of_command:
            assert deprived.wait() == SERVER_AWAY
        elif cell.point.name == "in drain":
            assert deprived.wait() == 0
        else:
            # By itself: its lease is longer than the test would wait.
            eventually(stage.is_done)
            assert deprived.drain() == 0
            stage.tallies.append(deprived.tally)

    stage.recover(cell)


@each_cell("raise")
def test_no_order_is_lost_or_doubled_when_a_replica_crashes(stage: Stage, cell: Cell) -> None:
    with stage.suffering(cell) as crashing:
        if cell.point.is_of_command:
            code = crashing.wait()
        else:
            # What an executor raises is charged to its order alone, and the order tried again.
            eventually(lambda: crashing.has_ended or stage.is_done())
            code = crashing.drain()

    assert code in {0, CRASHED}
    stage.recover(cell)


@each_cell("hang")
def test_no_order_is_lost_or_doubled_when_a_replica_hangs(stage: Stage, cell: Cell) -> None:
    with stage.suffering(cell) as hanging:
        assert hanging.drain() == EXIT_STOPPED

    stage.recover(cell)


@each_cell("slow")
def test_no_order_is_lost_or_doubled_when_a_replica_is_slower_than_its_lease_beside_another(
    stage: Stage, cell: Cell
) -> None:
    with stage.suffering(cell) as slow:
        with stage.peer(**SHORT_LEASE):
            eventually(stage.is_done)
        assert slow.drain() == 0

    stage.recover(cell)


@each_cell("leave", "leave at once")
def test_nothing_is_left_half_done_when_a_replica_is_asked_to_leave(stage: Stage, cell: Cell) -> None:
    with stage.suffering(cell) as leaving:
        assert leaving.wait() == 0
        stage.tallies.append(leaving.tally)

    stage.recover(cell, by_itself=not cell.point.renews)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_no_order_is_doubled_when_a_peer_retries_what_a_transaction_still_holds(
    stage: Stage, end: signal.Signals
) -> None:
    stage.set("orders", 0)
    # It is to hold its rows until the peer has started, however long that takes.
    patient = {**LONG_LEASE, "transaction_timeout_s": 25}
    with stage.victim("before COMMIT", "stop", 3, **patient) as holding:
        stage.reach(holding, "before COMMIT")
        eventually(holding.is_stopped)
        stage.age()
        with stage.peer():
            eventually(stage.somebody_waits_for_a_lock)
            holding.signal(end)
            eventually(stage.is_done)
        holding.signal(signal.SIGCONT)
        assert holding.drain() in {0, -signal.SIGKILL}

    stage.check("orders")


def test_replicas_that_start_at_once_make_one_group_and_share_all_orders(
    stage: Stage, forks: Forkserver, tmp_path: Path
) -> None:
    stage.clean()
    stage.deployment.submit(numbered_orders(200))
    # Nothing is to be taken over, and all of them ask PostgreSQL at once.
    patient = {"lease_ms": 30_000, "transaction_timeout_s": 10}

    with ExitStack() as stack:
        replicas = [
            stack.enter_context(
                forks.running(
                    stage.deployment, tmp_path / f"{number}.log", "worker", "run", batch_size=5, **patient
                )
            )
            for number in range(REPLICAS)
        ]
        eventually(stage.is_done)
        for replica in replicas:
            replica.await_word("worker started")
        assert [replica.drain() for replica in replicas] == [0] * REPLICAS
        tallies = [replica.tally for replica in replicas]

    assert sum(replica.said.count("group made") for replica in replicas) == 1
    assert sum(tally.received for tally in tallies) == 200
    assert_invariants(stage.deployment, *tallies)


@pytest.mark.parametrize("killed", [0, 2])
def test_schema_is_whole_when_migrations_start_at_once_and_some_are_killed(
    empty_database: Deployment, forks: Forkserver, tmp_path: Path, killed: int
) -> None:
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                forks.running(empty_database, tmp_path / f"{number}.log", "worker", "migrate")
            )
            for number in range(REPLICAS)
        ]
        for process in started[:killed]:
            eventually(lambda: tables_are_being_made(empty_database), within=5)
            process.signal(signal.SIGKILL)
        codes = [process.wait() for process in started]

    assert set(codes[killed:]) == {0}
    assert schema(empty_database.settings()) == "current"


def tables_are_being_made(deployment: Deployment) -> bool:
    """Whether somebody is connected to the database besides the one who asks."""
    with deployment.database.transaction() as connection:
        others = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    return bool(others) or schema(deployment.settings()) == "current"


def test_point_that_is_never_reached_fails_the_run(stage: Stage) -> None:
    stage.set("orders", 0)
    with stage.victim("nowhere", "kill", **LONG_LEASE) as victim:
        eventually(stage.is_done)
        assert victim.drain() == 0
        with pytest.raises(AssertionError, match="never said"):
            stage.reach(victim, "nowhere")


def test_each_point_is_played_in_each_way_or_says_why_not() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)
    for point in POINTS:
        assert set(point.without) <= set(WAYS)
        assert all(point.without.values())
        assert set(WAYS) - set(point.without)
