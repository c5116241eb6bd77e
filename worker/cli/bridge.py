"""`worker bridge`."""

import sys

import click
import structlog

from worker.bootstrap import replica
from worker.bootstrap.bridge import add_what_is_published
from worker.cli.shell import examples, settings_of_environment, translated
from worker.domain.errors import WorkerError
from worker.domain.texts import escaped

log = structlog.get_logger(__name__)

MEGABYTE = 1_000_000
MOST_CHARACTERS = 200


class ChannelName(click.ParamType[str]):
    """The name of a Pub/Sub channel."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it is, or fail as a usage error."""
        if not value.isprintable() or not 0 < len(value) <= MOST_CHARACTERS:
            self.fail(f"{escaped(value[:MOST_CHARACTERS])!r} is no name of a channel", param, ctx)
        return value


@click.command(epilog=examples("worker bridge --channel orders"))
@click.option("--channel", type=ChannelName(), required=True, help="The Pub/Sub channel to hear.")
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(1, 16_384),
    default=256,
    show_default=True,
    help="Most that may wait to be added, MB; beyond that messages are lost, and logged.",
)
@translated
def bridge(*, channel: str, memory_mb: int) -> None:
    """Add what is published on a Pub/Sub channel to the orders stream until SIGTERM or SIGINT.

    Each message becomes one entry, byte for byte, however many bridges hear the channel. What is published
    while none does is lost: Pub/Sub keeps nothing. Run two.
    """
    settings = settings_of_environment(serves=True)
    try:
        add_what_is_published(settings, channel, most_bytes=memory_mb * MEGABYTE)
    except WorkerError:
        raise
    except Exception:
        # A bug: one line in the form of all others.
        log.exception("crashed")
        sys.exit(replica.EXIT_STOPPED)
