"""TLS to both servers: it works with the named authority, and what can't be right is refused at the start."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.commands import command
from tests.encryption import Authority, encrypted
from tests.faults.environment.site import Site
from tests.faults.environment.test_start import CONFIGURATION
from tests.faults.environment.test_strange_servers import refusal
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.inprocess import running

ORDERS = 20


@dataclass
class Ground:
    """A site, TLS before both its servers, and authorities that signed some certificates and not others."""

    site: Site
    ours: Authority
    others: Authority
    ports: dict[str, int]
    renewed: ssl.SSLContext

    def redis(self, at: str, options: str, scheme: str = "rediss") -> str:
        parts = urlsplit(self.site.workers.servers.redis_url)
        return self._moved(parts.geturl(), self.ports[at], options, scheme)

    def postgres(self, at: str, options: str) -> str:
        return self._moved(
            self.site.workers.environment()["DATABASE_URL"], self.ports[at], options, "postgresql"
        )

    def untrusted(self, server: str) -> Deployment:
        """Return the deployment with one server whose certificate nobody trusts."""
        redis_url, database_url = (
            self.site.workers.environment()[each] for each in ("REDIS_URL", "DATABASE_URL")
        )
        if server == "Redis":
            redis_url = self.redis("redis", "")
        else:
            database_url = self.postgres("postgresql", "sslmode=verify-full&sslrootcert=system")
        return Deployment(Servers(redis_url, database_url), self.site.name, self.site.name)

    def _moved(self, url: str, port: int, options: str, scheme: str) -> str:
        parts = urlsplit(url)
        place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
        return urlunsplit(parts._replace(scheme=scheme, netloc=place, query=self.filled(options)))

    def filled(self, options: str) -> str:
        certificate, key = self.ours.files("client")
        stranger, strange_key = self.others.files("stranger")
        expired, expired_key = self.ours.files("expired", is_expired=True)
        return options.format(
            ours=self.ours.file, others=self.others.file, certificate=certificate, key=key,
            stranger=stranger, strange_key=strange_key, expired=expired, expired_key=expired_key,
        )  # fmt: skip


@pytest.fixture
def ground(site: Site, tmp_path: Path) -> Iterator[Ground]:
    ours, others = Authority.new(tmp_path, "ours"), Authority.new(tmp_path, "others")
    here, elsewhere = ours.sign("127.0.0.1"), ours.sign("elsewhere.invalid")
    expired = ours.sign("127.0.0.1", is_expired=True)
    redis, postgres = site.redis_server.port, site.postgres_server.port
    renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ExitStack() as opened:
        fronts = {
            "redis": encrypted(redis, here),
            "redis elsewhere": encrypted(redis, elsewhere),
            "redis expired": encrypted(redis, expired),
            "redis for its own": encrypted(redis, here, clients=ours),
            "redis renewed": encrypted(redis, here, context=renewed),
            "postgresql renewed": encrypted(postgres, here, asks_first=True, context=renewed),
            "postgresql": encrypted(postgres, here, asks_first=True),
            "postgresql elsewhere": encrypted(postgres, elsewhere, asks_first=True),
            "postgresql expired": encrypted(postgres, expired, asks_first=True),
            "postgresql for its own": encrypted(postgres, here, clients=ours, asks_first=True),
        }
        ports = {name: opened.enter_context(front) for name, front in fronts.items()}
        ports |= {"redis plain": redis, "postgresql plain": postgres}
        yield Ground(site, ours, others, ports, renewed)


OF_REDIS = {
    "nobody trusts it": ("redis", "", "not trusted"),
    "another authority": ("redis", "ssl_ca_certs={others}", "not trusted"),
    "another host": ("redis elsewhere", "ssl_ca_certs={ours}", "not trusted"),
    "an expired one": ("redis expired", "ssl_ca_certs={ours}", "not trusted"),
    "our own has expired": (
        "redis for its own",
        "ssl_ca_certs={ours}&ssl_certfile={expired}&ssl_keyfile={expired_key}",
        "CERTIFICATE_EXPIRED",
    ),
    "an authority that is none": ("redis", "ssl_ca_certs=/etc/hostname", "ssl_ca_certs"),
    "authorities that are none": ("redis", "ssl_ca_data=nonsense", "ssl_ca_data"),
    "a certificate without its key": (
        "redis",
        "ssl_ca_certs={ours}&ssl_certfile={certificate}",
        "ssl_keyfile",
    ),
    "a certificate with another key": (
        "redis",
        "ssl_ca_certs={ours}&ssl_certfile={certificate}&ssl_keyfile={strange_key}",
        "ssl_keyfile",
    ),
    "ciphers that are none": ("redis", "ssl_ca_certs={ours}&ssl_ciphers=bogus", "ssl_ciphers"),
    "a version that is none": ("redis", "ssl_ca_certs={ours}&ssl_min_version=5", "ssl_min_version"),
    "a certificate is wanted": ("redis for its own", "ssl_ca_certs={ours}", "CERTIFICATE_REQUIRED"),
    "another certificate is wanted": (
        "redis for its own",
        "ssl_ca_certs={ours}&ssl_certfile={stranger}&ssl_keyfile={strange_key}",
        "UNKNOWN_CA",
    ),
    "a plain port": ("redis plain", "ssl_ca_certs={ours}", "write redis://"),
}  # fmt: skip
OF_POSTGRESQL = {
    "nobody trusts it": ("postgresql", "sslmode=verify-full&sslrootcert=system", "certificate verify failed"),
    "no authority": ("postgresql", "sslmode=verify-full&sslrootcert=/no/such/file", "root certificate file"),
    "another authority": (
        "postgresql",
        "sslmode=verify-full&sslrootcert={others}",
        "certificate verify failed",
    ),
    "another host": (
        "postgresql elsewhere",
        "sslmode=verify-full&sslrootcert={ours}",
        "does not match host name",
    ),
    "an expired one": (
        "postgresql expired",
        "sslmode=verify-full&sslrootcert={ours}",
        "certificate verify failed",
    ),
    "an expired one, whatever its host": (
        "postgresql expired",
        "sslmode=verify-ca&sslrootcert={ours}",
        "certificate verify failed",
    ),
    "our own has expired": (
        "postgresql for its own",
        "sslmode=verify-full&sslrootcert={ours}&sslcert={expired}&sslkey={expired_key}",
        "expired",
    ),
    "an authority that is none": (
        "postgresql",
        "sslmode=verify-full&sslrootcert=/etc/hostname",
        "root certificate",
    ),
    "a certificate with another key": (
        "postgresql",
        "sslmode=require&sslcert={certificate}&sslkey={strange_key}",
        "key values mismatch",
    ),
    "a certificate is wanted": ("postgresql for its own", "sslmode=require", "certificate required"),
    "a plain port": ("postgresql plain", "sslmode=require", "does not support SSL"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_REDIS)
def test_tls_to_redis_that_can_not_be_right_is_refused(
    ground: Ground, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at, options, words = OF_REDIS[name]

    line = refusal(ground.site.workers.environment() | {"REDIS_URL": ground.redis(at, options)}, capsys)

    assert line.startswith("worker: REDIS_URL: ")
    assert words in line


OF_BOTH = [("audit",), ("audit", "--repair"), ("show", "order-0")]
COMMANDS = {
    "Redis": [*OF_BOTH, ("dead", "list"), ("pending",), ("replay", "--all", "--yes"), ("submit", "-")],
    "PostgreSQL": [*OF_BOTH, ("migrate",)],
}
UNTRUSTED = {
    "Redis": "REDIS_URL: the server's certificate is not trusted",
    "PostgreSQL": "DATABASE_URL: can't be used as it is: ",
}
OTHER = {"Redis": "PostgreSQL     1", "PostgreSQL": "Redis          "}


@pytest.mark.parametrize("server", COMMANDS)
def test_every_command_refuses_a_certificate_that_nobody_trusts(ground: Ground, server: str) -> None:
    with ground.untrusted(server) as deployment:
        said = {" ".join(each): command(deployment, *each) for each in COMMANDS[server]}

    assert {name: each.exit_code for name, each in said.items()} == dict.fromkeys(said, CONFIGURATION)
    (line,) = {each.stderr.splitlines()[-1] for each in said.values()}
    assert line.startswith(f"worker: {UNTRUSTED[server]}")


@pytest.mark.parametrize("server", COMMANDS)
def test_status_tells_a_certificate_that_nobody_trusts_beside_the_other_server(
    ground: Ground, server: str
) -> None:
    with ground.untrusted(server) as deployment:
        shown = command(deployment, "status")

    assert shown.exit_code == CONFIGURATION
    assert shown.output.startswith(f"Needs you: {server} can't be used as it is named: {UNTRUSTED[server]}")
    assert OTHER[server] in shown.output


@pytest.mark.parametrize("name", OF_POSTGRESQL)
def test_tls_to_postgresql_that_can_not_be_right_is_refused(
    ground: Ground, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at, options, words = OF_POSTGRESQL[name]

    line = refusal(ground.site.workers.environment() | {"DATABASE_URL": ground.postgres(at, options)}, capsys)

    assert line.startswith("worker: DATABASE_URL: can't be used as it is: ")
    assert words in line


def test_port_of_redis_for_tls_is_refused_to_a_plain_url(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    url = ground.redis("redis", "", scheme="redis")

    line = refusal(ground.site.workers.environment() | {"REDIS_URL": url}, capsys)

    assert line == "worker: REDIS_URL: the port answers with TLS alone; write rediss://"


@pytest.mark.parametrize(
    ("redis", "redis_options", "postgres", "postgres_options"),
    [
        ("redis", "ssl_ca_certs={ours}", "postgresql", "sslmode=verify-full&sslrootcert={ours}"),
        (
            "redis for its own",
            "ssl_ca_certs={ours}&ssl_certfile={certificate}&ssl_keyfile={key}",
            "postgresql for its own",
            "sslmode=verify-full&sslrootcert={ours}&sslcert={certificate}&sslkey={key}",
        ),
    ],
    ids=["one way", "both ways"],
)
def test_orders_are_executed_over_tls_with_the_right_authority(
    ground: Ground, redis: str, redis_options: str, postgres: str, postgres_options: str
) -> None:
    site = ground.site
    over_tls = Servers(ground.redis(redis, redis_options), ground.postgres(postgres, postgres_options))
    site.deployment.submit(numbered_orders(ORDERS))

    with Deployment(over_tls, site.name, site.name) as workers, running(workers) as made:
        eventually(site.deployment.all_settled)

    assert_invariants(site.deployment, made.worker.tally)


@pytest.mark.parametrize("server", COMMANDS)
def test_certificate_that_expires_while_orders_flow_is_an_outage_that_a_new_one_ends(
    ground: Ground, server: str
) -> None:
    site = ground.site
    is_redis = server == "Redis"
    redis_url, database_url = (site.workers.environment()[each] for each in ("REDIS_URL", "DATABASE_URL"))
    if is_redis:
        redis_url = ground.redis("redis renewed", "ssl_ca_certs={ours}")
    else:
        database_url = ground.postgres("postgresql renewed", "sslmode=verify-full&sslrootcert={ours}")
    there = Deployment(Servers(redis_url, database_url), site.name, site.name)

    with there as workers, running(workers) as made:
        site.deployment.submit(numbered_orders(ORDERS)[: ORDERS // 2])
        eventually(site.deployment.all_settled)
        ground.ours.sign("127.0.0.1", is_expired=True).configure_cert(ground.renewed)
        (site.cut_redis if is_redis else site.end_sessions)()
        site.deployment.submit(numbered_orders(ORDERS)[ORDERS // 2 :])
        eventually(lambda: made.worker.tally.outages > 0)
        assert not site.deployment.all_settled()
        ground.ours.sign("127.0.0.1").configure_cert(ground.renewed)
        eventually(site.deployment.all_settled)

    assert_invariants(site.deployment, made.worker.tally)
