"""What is demanded of Redis before orders are trusted to it: that it keeps them, and that no person has to mend anything first."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from worker.domain.errors import ConfigurationError, Outage
from worker.stream.connection import RedisLink, outages
from worker.stream.information import evicting_policy, information

_CLUSTER = (
    "REDIS_URL: leads to a Redis Cluster that has the worker's keys on several nodes, which it can't work with yet; name a Redis"
    " that is no cluster (cluster-enabled no)"
)
_SENTINEL = (
    "REDIS_URL: leads to a Sentinel, which keeps no orders; name the port of the Redis that it watches"
)
_TOO_OLD = (
    "REDIS_URL: the server lacks a command that the worker needs; name a Redis from 6.2 on, or a Valkey"
)
# The server, or somebody on the way, has gone away in the middle of the handshake.
_CUT = (
    ssl.SSLEOFError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
    ssl.SSLZeroReturnError,
)


@contextmanager
def demands() -> Iterator[None]:
    """Raise ConfigurationError, with the way out, in place of an Outage that no waiting ends."""
    try:
        yield
    except Outage as outage:
        line = _way_out(outage.__cause__)
        if line is None:
            raise
        raise ConfigurationError(line) from None


def require_keeping(link: RedisLink, *, allow_eviction: bool) -> None:
    """Raise ConfigurationError where the server is none that keeps what it is given. What it does not tell is no reason to leave."""
    with outages():
        known = information(link, "server")
        # The second is Valkey's name of it.
        if "sentinel" in {known.get("redis_mode"), known.get("server_mode")}:
            raise ConfigurationError(_SENTINEL)
        policy = evicting_policy(link)
    if policy and not allow_eviction:
        raise ConfigurationError(
            f"REDIS_URL: the server may evict orders that nobody has executed (maxmemory-policy {policy}): set it to noeviction,"
            " or WORKER_ALLOW_EVICTION=1 to lose them"
        )


def _way_out(error: Any) -> str | None:  # noqa: ANN401  whatever an outage came of
    if isinstance(error, redis.exceptions.MovedError | redis.exceptions.ClusterCrossSlotError):
        return _CLUSTER
    said = str(error)
    if isinstance(error, redis.ResponseError):
        # Within a script it is part of another error.
        if "CROSSSLOT" in said or "MOVED" in said or "non local key" in said:
            return _CLUSTER
        return _TOO_OLD if "unknown command" in said.lower() else None
    below = error.__cause__ if isinstance(error, redis.ConnectionError) else None
    if isinstance(below, ssl.SSLCertVerificationError):
        return (
            f"REDIS_URL: the server's certificate is not trusted, {below.verify_message}; name the authority that has signed it"
            " (ssl_ca_certs=FILE), and the host as the certificate has it"
        )
    if isinstance(below, ssl.SSLError) and not isinstance(below, _CUT):
        return f"REDIS_URL: TLS can't be agreed on with the server: {getattr(below, 'reason', None) or below}"
    return None
