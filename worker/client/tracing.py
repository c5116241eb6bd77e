"""Where the trace goes on that a program is in: found without a library that the program has not loaded."""

import sys
from typing import Any

TRACEPARENT = "traceparent"


def current_traceparent() -> str | None:
    """Return the traceparent of the span that is active, None where there is none.

    No span is active where the program has not loaded OpenTelemetry by itself: then nothing is.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    # While another thread is loading it, it has not all of its names yet.
    current_span = getattr(trace, "get_current_span", None)
    if current_span is None:
        return None
    context = current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
