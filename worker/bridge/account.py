"""What became of all that a bridge has heard."""

from threading import Lock

import structlog
from msgspec import Struct

from worker import wire

log = structlog.get_logger(__name__)

SHOWN_BYTES = 2048
# Those that are lost are counted by both threads, all else by one each.
_losing = Lock()


class Account(Struct):
    """Received = added + added by others + left to others + lost + waiting."""

    received: int = 0
    added: int = 0
    added_by_others: int = 0
    left_to_others: int = 0
    lost: int = 0
    gaps: int = 0

    def lose(self, message: bytes, why: str, hiding: wire.Hiding) -> None:
        """Count a message that this bridge can't add, and leave it in the log: a person may submit it."""
        with _losing:
            self.lost += 1
        shown = hiding.message(message, SHOWN_BYTES)
        log.error("message lost", why=why, size=len(message), message=shown)

    def leave_to_others(self, message: bytes, hiding: wire.Hiding) -> None:
        """Count a message that others may add, and leave it in the log: who counts as one may not hear it.

        Others may have begun to hear at the same moment, or be no bridges: whoever listens by a pattern.
        """
        self.left_to_others += 1
        shown = hiding.message(message, SHOWN_BYTES)
        log.warning("message left to other bridges", size=len(message), message=shown)
