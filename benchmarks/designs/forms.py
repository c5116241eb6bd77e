"""The forms that an order takes on the stream: flat fields, or the envelope that a library expects."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import TypeAlias

from benchmarks.load import Order

Fields: TypeAlias = Sequence[str | bytes]
Form: TypeAlias = Callable[[Order], Fields]

TASK_NAME = "execute"


def flat(order: Order) -> Fields:
    """Return the fields as the worker's producers send them, names and values in turn."""
    return list(chain.from_iterable(order.items()))


def enveloped(order: Order) -> Fields:
    """Return what FastStream's own publisher would add."""
    # FastStream is in the extra `bench`, and only this form needs it.
    from faststream.redis.parser import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        BinaryMessageFormatV1,
    )

    body = BinaryMessageFormatV1.encode(
        message=dict(order), reply_to=None, headers=None, correlation_id=order["order_id"]
    )
    return ["__data__", _runner().run(body)]


@cache
def _runner() -> asyncio.Runner:
    # A loop of its own for each order would take longer than the run that it is for.
    return asyncio.Runner()


def task(order: Order) -> Fields:
    """Return what taskiq's `kiq` would add for one call of the task, in its own JSON."""
    call = {
        "task_id": order["order_id"],
        "task_name": TASK_NAME,
        "labels": {},
        "labels_types": {},
        "args": [dict(order)],
        "kwargs": {},
    }
    return ["data", json.dumps(call)]
