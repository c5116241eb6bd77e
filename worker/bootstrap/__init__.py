"""The composition root: the only room that knows all concrete types, and how each command begins."""

from worker.bootstrap.commands import migrate, schema, snapshot, submitter
from worker.bootstrap.connections import database_from_environment
from worker.bootstrap.replica import EXIT_STOPPED, Replica, replica, run

__all__ = [
    "EXIT_STOPPED",
    "Replica",
    "database_from_environment",
    "migrate",
    "replica",
    "run",
    "schema",
    "snapshot",
    "submitter",
]
