"""`worker run`."""

import sys

import click
import structlog

from worker.bootstrap import replica
from worker.bootstrap.run import run_replica
from worker.cli.shell import examples, settings_of_environment, translated
from worker.domain.errors import WorkerError

log = structlog.get_logger(__name__)


@click.command(
    epilog=examples(
        "worker run", "WORKER_EXECUTOR=package.module:Name worker run   # with an executor of yours"
    )
)
@translated
def run() -> None:
    """Run one replica until SIGTERM or SIGINT."""
    settings = settings_of_environment(serves=True)
    try:
        run_replica(settings)
    except WorkerError:
        raise
    except Exception:
        # A bug: one line in the form of all others, and what is in hand is left to be claimed.
        log.exception("crashed, others take over after the lease")
        sys.exit(replica.EXIT_STOPPED)
