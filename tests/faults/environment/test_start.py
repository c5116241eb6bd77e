"""What keeps a replica from starting: one line that says why, and an exit code.

Once it is mended, the start is like any other.
"""

import gc
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import pytest

from local.directory import free_port
from tests.accounts import with_user
from tests.faults.environment import postgres_conditions, redis_conditions
from tests.faults.environment.site import Site
from tests.faults.environment.trial import LONG_LEASE, assert_as_if_nothing_had_happened, recovering
from tests.harness import numbered_orders
from tests.inprocess import running
from tests.processes import ROOT
from worker.bootstrap.replica import replica
from worker.cli.shell import translated
from worker.settings import read_settings

UNREACHABLE, STOPPED, CONFIGURATION = 3, 70, 78
ORDERS = 5

Change = Callable[[Site], dict[str, str]]


def nothing(_site: Site) -> dict[str, str]:
    return {}


def at_nowhere(variable: str, site: Site) -> dict[str, str]:
    return site.url_at(variable, "nowhere.invalid")


def without_password(site: Site) -> dict[str, str]:
    parts = urlsplit(site.redis_server.url)
    return {"REDIS_URL": f"redis://127.0.0.1:{parts.port}/0"}


def with_wrong_password(variable: str, site: Site) -> dict[str, str]:
    return {variable: with_user(site.workers.environment()[variable], site.name, "wrong")}


def at_a_port_in_use(site: Site) -> dict[str, str]:
    return {"WORKER_HEALTH_PORT": str(site.redis_server.port)}


def with_unknown_option(site: Site) -> dict[str, str]:
    return {"DATABASE_URL": f"{site.workers.environment()['DATABASE_URL']}?options=-cno_such_thing%3D1"}


@dataclass(frozen=True)
class Refusal:
    """A condition at the start: what the environment says or what ails a server, and how the start ends."""

    name: str
    code: int
    words: str
    environment: Change = nothing
    wrong: Callable[[Site], AbstractContextManager[object]] = field(default=lambda _site: nullcontext())

    def __str__(self) -> str:
        return self.name


REFUSALS = [
    Refusal("start: Redis has no such name", UNREACHABLE, "redis: ", partial(at_nowhere, "REDIS_URL")),
    Refusal(
        "start: PostgreSQL has no such name",
        UNREACHABLE,
        "nowhere.invalid",
        partial(at_nowhere, "DATABASE_URL"),
    ),
    Refusal("start: no password for Redis", CONFIGURATION, "REDIS_URL: access refused", without_password),
    Refusal(
        "start: wrong password for Redis",
        CONFIGURATION,
        "REDIS_URL: access refused",
        partial(with_wrong_password, "REDIS_URL"),
    ),
    Refusal(
        "start: wrong password for PostgreSQL",
        CONFIGURATION,
        "DATABASE_URL: access refused",
        partial(with_wrong_password, "DATABASE_URL"),
    ),
    Refusal(
        "start: keys of Redis forbidden",
        CONFIGURATION,
        "REDIS_URL: access refused",
        wrong=redis_conditions.keys_forbidden,
    ),
    Refusal(
        "start: a command of a script forbidden",
        CONFIGURATION,
        "REDIS_URL: access refused",
        wrong=redis_conditions.command_of_a_script_forbidden,
    ),
    Refusal(
        "start: Redis out of memory", UNREACHABLE, "maxmemory", wrong=redis_conditions.configured(maxmemory=1)
    ),
    Refusal("start: Redis is a replica", UNREACHABLE, "read only", wrong=redis_conditions.demoted),
    Refusal(
        "start: Redis may evict orders",
        CONFIGURATION,
        "noeviction",
        wrong=redis_conditions.configured(maxmemory_policy="allkeys-random", maxmemory=1_000_000_000),
    ),
    Refusal("start: HTTP port in use", CONFIGURATION, "can't listen on", at_a_port_in_use),
    Refusal(
        "start: PostgreSQL lets nobody in",
        CONFIGURATION,
        "DATABASE_URL: access refused",
        wrong=postgres_conditions.changed(
            "REVOKE CONNECT ON DATABASE WORKER FROM PUBLIC", "GRANT CONNECT ON DATABASE WORKER TO PUBLIC"
        ),
    ),
    Refusal(
        "start: a right lacks in PostgreSQL",
        CONFIGURATION,
        "permission denied for table trades",
        wrong=postgres_conditions.changed(
            "REVOKE INSERT ON trades FROM WORKER", "GRANT INSERT ON trades TO WORKER"
        ),
    ),
    Refusal(
        "start: an option that PostgreSQL does not know",
        CONFIGURATION,
        "DATABASE_URL: can't be used as it is",
        with_unknown_option,
    ),
    Refusal(
        "start: no connection left at PostgreSQL",
        UNREACHABLE,
        "too many connections",
        wrong=postgres_conditions.changed(
            "ALTER ROLE WORKER CONNECTION LIMIT 0", "ALTER ROLE WORKER CONNECTION LIMIT -1"
        ),
    ),
]


@translated
def start(environment: Mapping[str, str]) -> None:
    """Put a replica together as `worker run` does, with its exit codes."""
    with replica(read_settings(environment)):
        pytest.fail("the replica started")


@pytest.fixture(autouse=True)
def _refused_servers() -> Iterator[None]:
    """Collect what the HTTP server leaves open when it can't listen."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_start_is_refused_in_one_line_and_succeeds_once_it_is_mended(
    site: Site, refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    environment = site.workers.environment(health_port=free_port()) | refusal.environment(site)

    with refusal.wrong(site), pytest.raises(SystemExit) as left:
        start(environment)

    (line,) = capsys.readouterr().err.splitlines()
    assert left.value.code == refusal.code, line
    assert line.startswith("worker: ")
    assert refusal.words in line
    with recovering(refusal.name) as until, running(site.workers, **LONG_LEASE) as made:
        until(site.deployment.all_settled)
    assert_as_if_nothing_had_happened(site, made, orders=ORDERS)


def test_start_without_enough_descriptors_ends_with_a_word_and_no_order_taken(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    environment = site.workers.process_environment(health_port=free_port())

    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 6; exec "$0" -m worker run', sys.executable],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode in {UNREACHABLE, STOPPED}
    assert "Too many open files" in done.stdout + done.stderr
    assert site.deployment.rows() == {}
    assert site.deployment.published() == []
