"""Outages that no waiting ends are told from others by what they came of, and say the way out."""

import ssl

import psycopg
import pytest
import redis
from sqlalchemy.exc import DBAPIError

from worker.domain.errors import ConfigurationError, Outage
from worker.store import demands as of_postgresql
from worker.stream import demands as of_redis
from worker.stream.link.outages import outages

CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
CERTIFICATE.verify_message = "unable to get local issuer certificate"
VERSION = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")


class Unseen:
    """A link at whose end there is nothing more to be seen."""

    def __init__(self, *, is_in_a_cluster: bool = False) -> None:
        self.is_in_a_cluster = is_in_a_cluster

    def look_closer(self) -> None:
        return None


def raised(error: Exception, below: Exception | None) -> None:
    with of_redis(Unseen()), outages():  # type: ignore[arg-type]
        if below is None:
            raise error
        try:
            raise below
        except OSError:
            # As the library does it, without a cause.
            raise error  # noqa: B904


@pytest.mark.parametrize(
    ("error", "below", "words"),
    [
        (redis.exceptions.MovedError("1234 10.0.0.1:6379"), None, "redis\\+cluster://"),
        (
            redis.exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
            None,
            "redis\\+cluster://",
        ),
        (
            redis.ResponseError("Script attempted to access a non local key in a cluster node"),
            None,
            "redis\\+cluster://",
        ),
        (redis.ResponseError("This instance has cluster support disabled"), None, "write redis://"),
        (redis.ResponseError("unknown command 'SENTINEL', with args beginning with: "), None, "no Sentinel"),
        (redis.ResponseError("DB index is out of range"), None, "no database of this number"),
        (redis.ResponseError("unknown command 'XGROUP', with args beginning with: "), None, "6.2"),
        (redis.ConnectionError("Error 1 connecting"), CERTIFICATE, "ssl_ca_certs"),
        (redis.ConnectionError("Error 1 connecting"), VERSION, "TLS"),
    ],
    ids=str,
)
def test_outage_of_redis_that_no_waiting_ends_says_the_way_out(
    error: Exception, below: Exception | None, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^REDIS_URL: .*{words}") as caught:
        raised(error, below)

    assert len(str(caught.value).splitlines()) == 1


def test_node_that_has_moved_our_keys_is_no_reason_to_leave_a_cluster() -> None:
    with pytest.raises(Outage), of_redis(Unseen(is_in_a_cluster=True)), outages():  # type: ignore[arg-type]
        raise redis.exceptions.MovedError("1234 10.0.0.1:6379")


@pytest.mark.parametrize(
    ("error", "below"),
    [
        (redis.ConnectionError("Error 111 connecting"), ConnectionRefusedError()),
        (
            redis.ConnectionError("Error 8 connecting"),
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ),
        (redis.TimeoutError("Timeout connecting to server"), TimeoutError()),
        (redis.ReadOnlyError("You can't write against a read only replica."), None),
        (redis.exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), None),
    ],
    ids=str,
)
def test_outage_of_redis_that_may_pass_stays_one(error: Exception, below: Exception | None) -> None:
    with pytest.raises(Outage):
        raised(error, below)


# Where libpq hands on no code; the others are told on real servers.
LASTING = [
    "connection failed: SSL error: certificate verify failed",
    "connection failed: SSL error: tlsv13 alert certificate required",
    'connection failed: server certificate for "a" does not match host name "b"',
    "connection failed: FATAL:  unsupported startup parameter: options",
]
PASSING = [
    "connection failed: Connection refused",
    "connection timeout expired",
    "connection failed: FATAL:  the database system is starting up",
    "connection failed: FATAL:  sorry, too many clients already",
    "failed to resolve host 'db': [Errno -3] Temporary failure in name resolution",
    "connection failed: server closed the connection unexpectedly",
    "connection failed: session is read-only",
]


class Refusing:
    """A database whose every transaction fails in one way."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def transaction(self) -> None:
        error = psycopg.OperationalError(self._reason)
        raise Outage("postgresql", self._reason) from DBAPIError("BEGIN", None, error)


@pytest.mark.parametrize("reason", LASTING)
def test_outage_of_postgresql_that_no_waiting_ends_is_bad_configuration(reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: can't be used as it is: "):
        of_postgresql.require_fit(Refusing(reason))  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", PASSING)
def test_outage_of_postgresql_that_may_pass_stays_one(reason: str) -> None:
    with pytest.raises(Outage):
        of_postgresql.require_fit(Refusing(reason))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reason",
    [
        'connection failed: FATAL:  database "misnamed" does not exist',
        "connection failed: FATAL:  no such database: misnamed",
    ],
)
def test_database_that_is_not_there_is_bad_configuration_that_names_it(reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: .* is not there; .*misnamed"):
        of_postgresql.require_fit(Refusing(reason))  # type: ignore[arg-type]


def test_pooler_without_transactions_is_named_with_what_to_set() -> None:
    reason = "ProtocolViolation 08P01: transaction blocks not allowed in statement pooling mode"

    with pytest.raises(ConfigurationError, match="pool_mode to transaction or session"):
        of_postgresql.require_fit(Refusing(reason))  # type: ignore[arg-type]
