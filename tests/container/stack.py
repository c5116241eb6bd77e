"""The stack of compose.yaml under a project name of its own."""

import json
import os
import subprocess
import urllib.error
import urllib.request
import uuid
from functools import cache
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit, urlunsplit

from tests.accounts import with_user
from tests.harness import Deployment, Servers
from tests.skips import Reason, skip
from worker import __version__

ROOT = Path(__file__).parent.parent.parent
IMAGE = f"orders-worker:{__version__}"


def run(*command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a docker command."""
    return run("docker", *arguments, check=check)


@cache
def _compose() -> tuple[str, ...]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ("docker", "compose")
    if not which("docker-compose"):
        skip(Reason.NO_COMPOSE)
    return ("docker-compose",)


class Stack:
    """Redis, PostgreSQL and workers, as `make up` starts them."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self._project = f"orders-worker-test-{uuid.uuid4().hex[:8]}"
        self.make_secrets()

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a compose command on this stack alone."""
        files = ("-f", "compose.yaml", "-f", "tests/container/compose.test.yaml")
        return run(
            *_compose(), "-p", self._project, *files, *arguments,
            check=check, SECRETS=str(self.secrets), ORDERS_WORKER_VERSION=__version__,
        )  # fmt: skip

    def make_secrets(self) -> None:
        """Write what is not there yet."""
        run("deploy/make-secrets", str(self.secrets))

    def up(self, workers: int) -> None:
        """Start everything, or as many workers more."""
        self.compose("up", "-d", "--scale", f"worker={workers}")

    def down(self) -> None:
        """End everything, with its data."""
        self.compose("down", "-v", "-t", "1", check=False)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "-q", service).stdout.split()

    def address(self, service: str, port: int) -> str:
        """Where a port of a service is reached from here."""
        return self.compose("port", service, str(port)).stdout.strip()

    def deployment(self, accepted: list[str]) -> Deployment:
        """What the tests look at, as administrators: streams and database, and the log of all entries."""
        superuser = with_user(self.database_url("orders_migrate"), "orders", self.secret("postgres_password"))
        made = Deployment(Servers(self.redis_url("default"), superuser), "stack", "orders", accepted)
        made.orders, made.results, made.dead_letters = "orders", "order_results", "orders:dead"
        return made

    def secret(self, name: str) -> str:
        """What stands in a file of secrets."""
        return (self.secrets / name).read_text(encoding="utf-8").strip()

    def redis_url(self, user: str) -> str:
        """Where a user enters Redis from here."""
        return _at(self.secret(f"{user}.redis_url"), self.address("redis", 6379))

    def database_url(self, role: str) -> str:
        """Where a role enters PostgreSQL from here."""
        return _at(self.secret(f"{role}.database_url"), self.address("postgres", 5432))


def _at(url: str, address: str) -> str:
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@{address}"))


def inspect(container: str, template: str) -> str:
    """One fact about a container or an image."""
    return docker("inspect", "-f", template, container).stdout.strip()


def page(container: str, path: str) -> tuple[int, bytes]:
    """Ask a worker container; status 0 where it does not answer."""
    address = docker("port", container, "8003").stdout.split()[0]
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def received(container: str) -> int:
    """How many entries a worker container has taken."""
    _, body = page(container, "/status")
    return int(json.loads(body)["stats"]["orders_received"]) if body else 0
