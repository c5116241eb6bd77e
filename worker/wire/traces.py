"""Where the trace of an entry goes on, also of one that is no order: for whoever tells of it."""

import re
from collections.abc import Sequence

from worker.domain.trace_context import TRACEPARENT, traceparent_of
from worker.wire.names import PAYLOAD_FIELDS

_NAME = TRACEPARENT.encode()
_CARRIERS = frozenset(name.encode() for name in PAYLOAD_FIELDS)
# Without parsing: what can't be understood may name a trace all the same.
_INSIDE = re.compile(rb'"traceparent"\s*+:\s*+"([^"\\]{55,})"')


def traceparent_in(fields: Sequence[bytes]) -> str | None:
    """Return the traceparent beside a payload or among flat fields, else the first in a payload; or None."""
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    said = pairs.get(_NAME)
    if said is None:
        found = (_INSIDE.search(pairs[name]) for name in _CARRIERS & pairs.keys())
        said = next((each[1] for each in found if each), b"")
    return traceparent_of(said.decode("ascii", "replace"))
