"""A time that rows are older than, as people give it: a date, a time, or a span up to now."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from worker.cli.dead.selection import Ago
from worker.domain.texts import escaped


class Moment(click.ParamType[datetime]):
    """A date or a time of ISO 8601, in UTC where it names no zone."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time, or fail as a usage error."""
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{escaped(value)!r} is no time like 2026-01-31 or 2026-01-31T06:00Z", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


def before_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the two ways to say which rows are old enough."""
    by_span = click.option(
        "--older-than", "older_than_s", type=Ago(), metavar="SPAN", help="Rows older than 90, 10m, 2h or 1d."
    )
    by_time = click.option(
        "--before", type=Moment(), metavar="TIME", help="Rows recorded before 2026-01-31, or a time, in UTC."
    )
    return by_time(by_span(command))


def moment_of(before: datetime | None, older_than_s: float | None) -> datetime:
    """Return the time before which rows are meant. Raises a usage error where it is not said once."""
    if (before is None) == (older_than_s is None):
        raise click.UsageError("say either --before TIME or --older-than SPAN")
    try:
        return before or datetime.now(UTC) - timedelta(seconds=older_than_s or 0)
    except OverflowError:
        raise click.UsageError("--older-than: no calendar goes so far back") from None
