"""The only place that knows field names on the streams: entries become orders, rows become results."""

from worker.wire.decoding import Decoder
from worker.wire.rendering import Renderer, order_fields, result_copy, result_fields

__all__ = [
    "Decoder",
    "Renderer",
    "order_fields",
    "result_copy",
    "result_fields",
]
