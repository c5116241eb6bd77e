"""Orders that were executed long ago: their entries have left the stream, and their marks were dropped."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
# Of such an age is what a test says nothing else of.
AGE_MS = 10 * DAY_MS
QUICK: dict[str, Any] = {"orders_keep_s": 1, "repair_window_s": 1}


def ids_of_age(count: int, age_ms: int = AGE_MS) -> list[str]:
    """Return entry ids that streams gave so long ago."""
    then_ms = int(time.time() * 1000) - age_ms
    return [f"{then_ms}-{number}" for number in range(1, count + 1)]


def executed_long_ago(
    deployment: Deployment,
    orders: Sequence[Mapping[str, str]],
    *,
    age_ms: int = AGE_MS,
    young: str = "young",
    **overrides: Any,
) -> list[str]:
    """Have orders executed as of then, and one more as of now; return their entries.

    Retention must be quick, and marks go at once.
    """
    ids = deployment.submit(orders, under=ids_of_age(len(orders), age_ms))
    with running(deployment, **QUICK, **overrides):
        eventually(deployment.all_settled)
        deployment.submit([{**numbered_orders(1)[0], "order_id": young}])
        eventually(lambda: deployment.all_settled() and deployment.redis.xlen(deployment.orders) == 1)
        eventually(lambda: marks(deployment) == 1)
    age(deployment, age_ms)
    return ids


def age(deployment: Deployment, age_ms: int = AGE_MS, *, but: str = "young") -> None:
    """Date all rows but one back by so much, and what was noted of them."""
    query = text(
        "UPDATE orders SET recorded_at = recorded_at - make_interval(secs => :by),"
        " repeated_at = repeated_at - make_interval(secs => :by) WHERE order_id <> :but"
    )
    with deployment.database.transaction() as connection:
        connection.execute(query, {"by": age_ms / 1000, "but": but})


def marks(deployment: Deployment) -> int:
    """How many settled marks are kept."""
    return int(deployment.redis.zcount(deployment.marks, "-inf", "(+inf"))
