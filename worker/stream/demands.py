"""What is demanded of Redis before orders are trusted to it.

It has to keep them, and no person may have to mend anything first.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from worker.domain.errors import ConfigurationError, Outage
from worker.stream.link.codes import code_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages
from worker.stream.xinfo import evicting_policy, information

_CLUSTER = (
    "REDIS_URL: leads to a Redis Cluster, whose nodes share the worker's keys;"
    " write redis+cluster://HOST:PORT,HOST:PORT"
)
_NO_CLUSTER = "REDIS_URL: leads to a Redis that is no cluster; write redis://"
_SENTINEL = "REDIS_URL: leads to a Sentinel, which keeps no orders; write redis+sentinel://HOST:PORT,HOST:PORT/SERVICE"
_NO_SENTINEL = "REDIS_URL: leads to a Redis that is no Sentinel; name those that watch it, or write redis://"
_TOO_OLD = (
    "REDIS_URL: the server lacks a command that the worker needs; name a Redis from 6.2 on, or a Valkey"
)
_NO_SUCH_DATABASE = "REDIS_URL: the server has no database of this number"
# By whether all keys may go: what, and what that costs.
_EVICTED = {
    True: ("orders that nobody has executed", "lose them"),
    False: ("the numbers by which bridges add each message once", "have some added twice"),
}
# What a server says of SELECT, with the code of any error.
_OF_SELECT = ("DB index", "SELECT is not allowed")
# The server, or somebody on the way, has gone away in the middle of the handshake.
_CUT = (
    ssl.SSLEOFError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
    ssl.SSLZeroReturnError,
)


@contextmanager
def demands(link: RedisLink) -> Iterator[None]:
    """Raise ConfigurationError, with the way out, in place of an Outage that no waiting ends."""
    try:
        yield
    except Outage as outage:
        # In a cluster a node that has our keys no longer is left for the one that has them.
        moved = link.is_in_a_cluster and isinstance(outage.__cause__, redis.exceptions.MovedError)
        line = None if moved else _way_out(outage.__cause__) or _seen_closer(link, outage.__cause__)
        if line is None:
            raise
        raise ConfigurationError(line) from None


def require_redis(link: RedisLink) -> None:
    """Return when the server answers. Raises Outage, and ConfigurationError where no waiting ends that."""
    with demands(link):
        link.ping()


def require_keeping(link: RedisLink, *, allow_eviction: bool, bridges: bool = False) -> None:
    """Raise ConfigurationError where the server is none that keeps what it is given.

    Of a server that `bridges` add at that is also what expires. What the server does not tell is no reason to
    leave.
    """
    with outages():
        known = information(link, "server")
        # The second is Valkey's name of it.
        modes = {known.get("redis_mode"), known.get("server_mode")}
        if "sentinel" in modes:
            raise ConfigurationError(_SENTINEL)
        # A node that has our keys now works until it dies, or their slot moves.
        if "cluster" in modes and not link.is_in_a_cluster:
            raise ConfigurationError(_CLUSTER)
        policy = evicting_policy(link, expiring=bridges)
    if policy and not allow_eviction:
        what, loss = _EVICTED[policy.startswith("allkeys-")]
        raise ConfigurationError(
            f"REDIS_URL: the server may evict {what} (maxmemory-policy {policy}):"
            f" set it to noeviction, or WORKER_ALLOW_EVICTION=1 to {loss}"
        )


def _way_out(error: BaseException | None) -> str | None:
    if isinstance(error, redis.ResponseError):
        return _answered(error)
    below = _of_tls(error)
    if isinstance(below, ssl.SSLCertVerificationError):
        return (
            f"REDIS_URL: the server's certificate is not trusted, {below.verify_message};"
            " name the authority that has signed it (ssl_ca_certs=FILE),"
            " and the host as the certificate has it"
        )
    if below is None or isinstance(below, _CUT):
        return None
    return f"REDIS_URL: TLS can't be agreed on with the server: {getattr(below, 'reason', None) or below}"


def _answered(error: redis.ResponseError) -> str | None:
    said = str(error)
    if "cluster support disabled" in said:
        return _NO_CLUSTER
    if "unknown command" in said and "sentinel" in said.lower():
        return _NO_SENTINEL
    # Of a key of another node a script is told with ERR, the code of any error, as is whatever follows.
    if code_of(error) in {"CROSSSLOT", "MOVED"} or "non local key" in said:
        return _CLUSTER
    if any(words in said for words in _OF_SELECT):
        return _NO_SUCH_DATABASE
    return _TOO_OLD if "unknown command" in said.lower() else None


def _seen_closer(link: RedisLink, error: BaseException | None) -> str | None:
    # An alert of TLS is no reply.
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.exceptions.InvalidResponse):
        return link.look_closer()
    return None


def _of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS that an error of the library came of.

    It stands in its context: the library names no cause.
    """
    while isinstance(error, redis.ConnectionError | OSError):
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
