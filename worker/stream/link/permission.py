"""Whether commands with an effect of their own may be run, asked without running them."""

from typing import Any

import structlog

from worker.domain.errors import AccessDenied
from worker.stream.link.connection import RedisLink
from worker.stream.link.denials import naming_keys
from worker.stream.link.outages import outages

log = structlog.get_logger(__name__)


def require_publishing(link: RedisLink, channel: str | None) -> None:
    """Raise AccessDenied where results are to be copied to a channel that we may not publish on.

    Nothing is published.
    """
    not_known = not_known_whether_allowed(link, ("PUBLISH", channel, "")) if channel else None
    if not_known:
        log.warning("not known whether results may be published", channel=channel, reason=not_known)


def not_known_whether_allowed(link: RedisLink, *commands: tuple[str, ...]) -> str | None:
    """Have the server say whether it would run these commands, and run none.

    Returns why that can't be known, None where all are allowed. Raises AccessDenied for the first that is
    not, and Outage.
    """
    connection: Any = link.own_connection()
    try:
        with (
            outages(),
            naming_keys(dict.fromkeys(part for command in commands for part in command[1:] if part)),
        ):
            connection.connect()
            # What may not be done is refused when it is queued; what is discarded has no effect.
            for command in (("MULTI",), *commands, ("DISCARD",)):
                connection.send_command(*command)
                connection.read_response()
    except AccessDenied as denied:
        if "'multi'" not in denied.reason and "'discard'" not in denied.reason:
            raise
        return denied.reason
    finally:
        connection.disconnect()
    return None
