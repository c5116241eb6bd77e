"""Real Redis and PostgreSQL for a bare machine, as `make run` and the tests use them."""

from local.errors import LocalServerError, LocalServerFailed, LocalServerMissing
from local.postgres import LocalPostgres
from local.redis import LocalRedis
from local.servers import local_servers

__all__ = [
    "LocalPostgres",
    "LocalRedis",
    "LocalServerError",
    "LocalServerFailed",
    "LocalServerMissing",
    "local_servers",
]
