"""Knows the names of fields on the streams: entries become orders, rows results, and what failed letters."""

from worker.wire.comparing import Part, compared
from worker.wire.decoding import Decoder
from worker.wire.hiding import NOTHING_HIDDEN, Hiding
from worker.wire.letters import (
    Letter,
    NotReplayable,
    Replay,
    is_order_id,
    is_unicode,
    read_letter,
    replay_of,
    shown,
)
from worker.wire.names import entry_named_by
from worker.wire.rendering import Renderer, order_fields, result_copy, result_fields
from worker.wire.results import Spelling
from worker.wire.traces import traceparent_in

__all__ = [
    "NOTHING_HIDDEN",
    "Decoder",
    "Hiding",
    "Letter",
    "NotReplayable",
    "Part",
    "Renderer",
    "Replay",
    "Spelling",
    "compared",
    "entry_named_by",
    "is_order_id",
    "is_unicode",
    "order_fields",
    "read_letter",
    "replay_of",
    "result_copy",
    "result_fields",
    "shown",
    "traceparent_in",
]
