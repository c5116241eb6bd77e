"""The only place that knows field names on the streams: entries become orders, rows become results."""

from worker.wire.decoding import Decoder
from worker.wire.names import derived_order_id
from worker.wire.rendering import DeadLetterWriter, order_fields, result_copy, result_fields

__all__ = [
    "DeadLetterWriter",
    "Decoder",
    "derived_order_id",
    "order_fields",
    "result_copy",
    "result_fields",
]
