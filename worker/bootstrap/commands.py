"""What the commands beside `run` do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worker.bootstrap.connections import database, redis_link, redis_names
from worker.bootstrap.vitals import questions
from worker.domain.errors import Outage
from worker.settings import Settings
from worker.store import StoreInspector, migrations
from worker.stream import StreamInspector, Submitter


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the schema up; safe however many do so at once."""
    with database(settings, "migrate") as opened:
        migrations.upgrade(opened, revision)


def schema(settings: Settings) -> str:
    """Return where the schema stands against this version: current, behind or newer."""
    with database(settings, "migrate") as opened:
        return migrations.schema_state(opened).value


@contextmanager
def submitter(settings: Settings) -> Iterator[Submitter]:
    """Open the orders stream for adding to it."""
    with redis_link(settings, "submit") as link:
        link.ping()
        yield Submitter(link, settings.orders_stream)


def snapshot(settings: Settings) -> dict[str, Any]:
    """Return what the streams and the database look like now. A server that is away has an error instead."""
    found: dict[str, Any] = {}
    with redis_link(settings, "status") as link, database(settings, "status") as opened:
        asked = questions(StreamInspector(link, redis_names(settings)), StoreInspector(opened), opened)
        for server, question in asked.items():
            try:
                found[server] = {"connected": True, **question()}
            except Outage as outage:
                found[server] = {"connected": False, "error": outage.reason}
    return found
