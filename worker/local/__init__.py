"""Real Redis and PostgreSQL for a bare machine, as `make run` and the tests use them."""

from worker.local.errors import LocalServerError, LocalServerFailed, LocalServerMissing
from worker.local.postgres import LocalPostgres
from worker.local.redis import LocalRedis
from worker.local.servers import local_servers

__all__ = [
    "LocalPostgres",
    "LocalRedis",
    "LocalServerError",
    "LocalServerFailed",
    "LocalServerMissing",
    "local_servers",
]
