"""Counts and tells which copies of results could not be published on the channel.

No settlement waits for them.
"""

import structlog

from worker.stream.link.outages import text

log = structlog.get_logger(__name__)

MOST_REASON = 300


class Unpublished:
    """How many there were, over all who publish for one replica."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, copies: int | bytes, reason: bytes, channel: str) -> None:
        """Count what a script could not publish, and say why."""
        if not int(copies):
            return
        self.count += int(copies)
        log.warning(
            "results not published on the channel, they stand on the stream",
            results=int(copies),
            channel=channel,
            reason=text(reason)[:MOST_REASON],
        )
