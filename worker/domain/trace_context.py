"""Where an order's trace goes on: the `traceparent` of its entry, as W3C's Trace Context has it."""

import re

TRACEPARENT = "traceparent"
# Version, trace, parent, flags. Version ff is none, nor is a trace or a parent of zeros alone. What a later
# version adds stands behind another dash (https://www.w3.org/TR/trace-context/, 3.2 and 4.3).
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})(?P<rest>-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII | re.DOTALL,
)
_KNOWN_VERSION = "00"
_SAMPLED = 1


def traceparent_of(text: str | None) -> str | None:
    """Return a traceparent in the version known here, 55 characters; None where it is malformed.

    Then the trace begins anew, which is all that the standard asks: nobody refuses an order for it.
    """
    found = _TRACEPARENT.fullmatch(text) if text else None
    if found is None or (found["more"] and found["version"] == _KNOWN_VERSION):
        return None
    return f"{_KNOWN_VERSION}{found['rest']}"


def trace_id_of(traceparent: str) -> str:
    """Return the trace that a traceparent names, 32 hexadecimal digits."""
    return traceparent[3:35]


def parent_id_of(traceparent: str) -> str:
    """Return the span that a traceparent names, 16 hexadecimal digits."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Whether whoever wrote it records its trace."""
    return int(traceparent[53:], 16) & _SAMPLED == _SAMPLED
