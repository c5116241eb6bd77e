"""taskiq: one task per order over RedisStreamBroker, acked once the task has returned.

`python -m taskiq worker benchmarks.designs.taskiq_app:broker --workers 1`.
"""

import redis.asyncio
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from taskiq_redis import (  # type: ignore[import-not-found,unused-ignore]  # in the extra `bench`
    RedisStreamBroker,
)

from benchmarks.designs import surroundings
from benchmarks.designs.forms import TASK_NAME
from benchmarks.designs.orm import OrderModel, engine_url, executed

broker = RedisStreamBroker(
    surroundings.redis_url(),
    queue_name=surroundings.ORDERS,
    consumer_group_name=surroundings.GROUP,
    consumer_name=surroundings.consumer(),
)
results = redis.asyncio.Redis.from_url(surroundings.redis_url())
sessions = async_sessionmaker(create_async_engine(engine_url()))


async def execute(order: OrderModel) -> None:
    """Execute one order, commit it, publish its result.

    A task is not told its entry: the order id stands for it.
    """
    row, result = executed(order, order.order_id)
    async with sessions() as session:
        session.add(row)
        await session.commit()
    await results.xadd(surroundings.RESULTS, result)  # type: ignore[arg-type]


broker.register_task(execute, task_name=TASK_NAME)
