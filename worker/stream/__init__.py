"""Speaks Redis: reading, keeping, settling and inspecting the entries of one consumer group."""

from worker.stream.audit_pages import StreamEvidence
from worker.stream.channel import Channel
from worker.stream.closed_letters import ClosedLetters
from worker.stream.coming import Coming
from worker.stream.dead_letters import Closing, DeadLetters, StoredLetter
from worker.stream.demands import demands, require_keeping, require_redis
from worker.stream.figures import Figures
from worker.stream.link.connection import RedisLink
from worker.stream.link.permission import require_publishing
from worker.stream.lost_rows import LostRowsBook
from worker.stream.marks import Marks
from worker.stream.mending import Mending
from worker.stream.names import RedisNames
from worker.stream.order_trail import Found, Trail, Walk
from worker.stream.orders import OrderStream
from worker.stream.page_state import StreamInspector
from worker.stream.pending import PendingEntries, PendingEntry, Readied
from worker.stream.presence import Presence
from worker.stream.rehearsal import Rehearsal
from worker.stream.submission import Submitter
from worker.stream.token import StreamToken
from worker.stream.turn import Rounds, Turn
from worker.stream.unpublished import Unpublished

__all__ = [
    "Channel",
    "ClosedLetters",
    "Closing",
    "Coming",
    "DeadLetters",
    "Figures",
    "Found",
    "LostRowsBook",
    "Marks",
    "Mending",
    "OrderStream",
    "PendingEntries",
    "PendingEntry",
    "Presence",
    "Readied",
    "RedisLink",
    "RedisNames",
    "Rehearsal",
    "Rounds",
    "StoredLetter",
    "StreamEvidence",
    "StreamInspector",
    "StreamToken",
    "Submitter",
    "Trail",
    "Turn",
    "Unpublished",
    "Walk",
    "demands",
    "require_keeping",
    "require_publishing",
    "require_redis",
]
