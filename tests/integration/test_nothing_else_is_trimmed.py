"""What retention leaves alone, however much there is of it."""

import time

from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running

HOUR_MS = 3_600_000
MANY = 1000


def test_results_and_dead_letters_stay_and_so_does_what_another_group_has_not_read(
    deployment: Deployment,
) -> None:
    client = deployment.redis
    old_ms = int(time.time() * 1000) - HOUR_MS
    ids = [f"{old_ms}-{number}" for number in range(1, 4)]
    with client.pipeline() as pipeline:
        for entry_id, order in zip(ids, numbered_orders(3), strict=True):
            pipeline.xadd(deployment.orders, order, id=entry_id)  # type: ignore[arg-type]
        for number in range(MANY):
            # As old as can be, and read by nobody.
            for stream in (deployment.results, deployment.dead_letters):
                pipeline.xadd(stream, {"number": number}, id=f"{number + 1}-0")
        pipeline.execute()
    client.xgroup_create(deployment.orders, "others", ids[1])
    client.xgroup_create(deployment.results, "readers", "$")

    with running(deployment, orders_keep_s=1):
        # The first order is trimmed: retention has been at work.
        eventually(lambda: client.xlen(deployment.orders) == 2)

    assert [entry_id for entry_id, _ in deployment.entries(deployment.orders)] == ids[1:]
    assert client.xlen(deployment.results) == MANY + 3
    assert client.xlen(deployment.dead_letters) == MANY
