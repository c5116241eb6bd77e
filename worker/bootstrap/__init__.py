"""The composition root: the only room that knows all concrete types, and how each command begins."""

from worker.bootstrap.auditing import Auditor, Wish, auditor
from worker.bootstrap.bridging import bridge
from worker.bootstrap.commands import (
    Witnesses,
    dead_letters,
    migrate,
    pending_entries,
    schema,
    submitter,
    witnesses,
)
from worker.bootstrap.connections import database_from_environment
from worker.bootstrap.overview import snapshot
from worker.bootstrap.replica import EXIT_STOPPED, Replica, decoder_of, replica, run

__all__ = [
    "EXIT_STOPPED",
    "Auditor",
    "Replica",
    "Wish",
    "Witnesses",
    "auditor",
    "bridge",
    "database_from_environment",
    "dead_letters",
    "decoder_of",
    "migrate",
    "pending_entries",
    "replica",
    "run",
    "schema",
    "snapshot",
    "submitter",
    "witnesses",
]
