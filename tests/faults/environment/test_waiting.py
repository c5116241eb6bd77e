"""A start while a server is away: it waits, says so, and leaves when asked to, whatever it waits for."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.directory import free_port
from tests.faults.environment.lending import healing
from tests.faults.environment.site import Site
from tests.faults.environment.trial import recovering
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.migrating import DROP_ALL
from tests.processes import COMMAND, ROOT, WorkerProcess
from tests.skips import Reason, skip
from worker.store.turns import TURN

ORDERS = 50
LEFT_WITHIN_S = 2.0
# As a shell says of what SIGTERM has ended.
ENDED = 143
MIGRATE = (*COMMAND[:-1], "migrate")
# As process 1 of its own, as in a container, where signals that nobody hears are lost.
AS_PROCESS_ONE = ("unshare", "--pid", "--fork", "--kill-child=KILL")

# With this lease a transaction may take five seconds.
PATIENT: dict[str, Any] = {"start_timeout_s": 60, "lease_ms": 10_000}


@contextmanager
def process(
    deployment: Deployment, folder: Path, command: Sequence[str] = COMMAND, **overrides: object
) -> Iterator[WorkerProcess]:
    made = WorkerProcess(deployment, folder / "worker.log", command, **PATIENT | overrides)
    try:
        yield made
    finally:
        made.end()


def attempts(made: WorkerProcess) -> list[str]:
    return [event["server"] for event in made.events if event["event"] == "waiting for a server"]


@pytest.mark.parametrize("server", ["redis", "postgresql"])
def test_replica_waits_at_its_start_for_a_server_that_is_away(site: Site, server: str) -> None:
    """Alive, not ready, one line for each attempt; then it works."""
    site.deployment.submit(numbered_orders(ORDERS))

    with process(site.workers, site.folder) as replica:
        with away(site, server):
            eventually(lambda: len(attempts(replica)) > 2)
            pages = {path: replica.get(path) for path in ("/health", "/ready", "/status", "/metrics")}
        if server == "redis":
            site.admit()
        with recovering(f"start: {server} away for a while") as until:
            until(site.deployment.all_settled)
        assert replica.drain() == 0

    assert {path: code for path, (code, _) in pages.items()} == {
        "/health": 200, "/ready": 503, "/status": 200, "/metrics": 200,
    }  # fmt: skip
    assert b'"starting"' in pages["/status"][1]
    assert server.encode() in pages["/ready"][1]
    assert set(attempts(replica)) == {server}
    site.deployment.accepted = [entry for entry, _ in site.deployment.entries(site.deployment.orders)]
    assert_invariants(site.deployment, replica.tally)


def test_start_leaves_with_one_line_when_a_server_is_away_for_too_long(site: Site) -> None:
    with away(site, "postgresql"), process(site.workers, site.folder, start_timeout_s=1) as replica:
        code = replica.wait()

    (line,) = [line for line in replica.said.splitlines() if not line.startswith("{")]
    assert (code, line.startswith("worker: postgresql: ")) == (3, True)
    assert len(attempts(replica)) > 1


def test_start_leaves_at_once_when_nothing_is_to_be_waited_for(site: Site) -> None:
    with away(site, "postgresql"), process(site.workers, site.folder, start_timeout_s=0) as replica:
        assert replica.wait() == 3

    assert attempts(replica) == []


def test_migration_waits_for_a_server_that_is_away(site: Site) -> None:
    with process(site.deployment, site.folder, MIGRATE) as migration:
        with away(site, "postgresql"):
            eventually(lambda: len(attempts(migration)) > 1)
        assert migration.wait() == 0

    assert migration.said.splitlines()[-1] == "schema: current"


def test_password_that_is_refused_is_not_waited_for(site: Site) -> None:
    site.acl("resetpass", ">another")

    with process(site.workers, site.folder) as replica:
        assert replica.wait() == 78

    assert attempts(replica) == []


@healing
def silent(site: Site, server: str) -> Iterator[None]:
    asked = site.redis_server if server == "redis" else site.postgres_server
    asked.pause()
    yield
    asked.resume()


@healing
def away(site: Site, server: str) -> Iterator[None]:
    """Away until the end of the block, unless that starts it."""
    asked = site.redis_server if server == "redis" else site.postgres_server
    asked.stop()
    yield
    asked.start()


@healing
def version_locked(site: Site) -> Iterator[None]:
    with site.foreign_transaction() as theirs:
        theirs.execute("LOCK TABLE orders_worker_version")
        yield


@healing
def turn_taken(site: Site) -> Iterator[None]:
    site.sql(DROP_ALL)
    with site.foreign_transaction() as theirs:
        theirs.execute(f"SELECT pg_advisory_xact_lock({TURN})".encode())
        yield


WAITS: dict[str, tuple[Sequence[str], Callable[[Site], AbstractContextManager[None]], int]] = {
    "for Redis, silent": (COMMAND, partial(silent, server="redis"), 0),
    "for PostgreSQL, silent": (COMMAND, partial(silent, server="postgresql"), 0),
    "for PostgreSQL, away": (COMMAND, partial(away, server="postgresql"), 0),
    "for a lock": (COMMAND, version_locked, 0),
    "to migrate, silent": (MIGRATE, partial(silent, server="postgresql"), ENDED),
    "to migrate, away": (MIGRATE, partial(away, server="postgresql"), ENDED),
    "to migrate, a lock": (MIGRATE, version_locked, ENDED),
    "to migrate, the turn": (MIGRATE, turn_taken, ENDED),
}


@pytest.mark.parametrize("name", WAITS)
def test_signal_ends_a_start_that_waits(site: Site, name: str) -> None:
    command, waiting, code = WAITS[name]
    patient = {"transaction_timeout_s": 30, "lease_ms": 60_000}

    with waiting(site), process(site.deployment, site.folder, command, **patient) as made:
        eventually(lambda: made.has_sockets() or attempts(made))
        made.signal(signal.SIGTERM)

        assert made.wait(within=LEFT_WITHIN_S) == code

    assert "Traceback" not in made.said


@pytest.mark.parametrize(("command", "code"), [(COMMAND, 0), (MIGRATE, ENDED)], ids=["run", "migrate"])
def test_signal_is_heard_by_process_one_as_soon_as_it_has_begun(
    site: Site, command: Sequence[str], code: int
) -> None:
    if subprocess.run([*AS_PROCESS_ONE, "true"], capture_output=True, check=False).returncode:
        skip(Reason.MAY_NOT_UNSHARE)
    environment = site.deployment.process_environment(health_port=free_port())

    with away(site, "postgresql"), subprocess.Popen(
        [*AS_PROCESS_ONE, *command], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    ) as outside:  # fmt: skip
        try:
            inside = first_child_that_hears(outside.pid)
            os.kill(inside, signal.SIGTERM)
            assert outside.wait(LEFT_WITHIN_S) == code
        finally:
            outside.kill()


def first_child_that_hears(pid: int) -> int:
    """Return the process id of a child, as seen from here, once it handles SIGTERM."""
    found: list[int] = []

    def hears() -> bool:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for child in children:
            status = Path(f"/proc/{child}/status").read_text(encoding="ascii")
            (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
            if int(caught, 16) & 1 << signal.SIGTERM - 1:
                found.append(int(child))
        return bool(found)

    eventually(hears)
    return found[0]
