"""FastStream: a subscriber of a Redis stream, one by one or in batches, acked once the handler has returned.

`python -m benchmarks.designs.faststream_app one|batch`.
"""

import asyncio
import logging
import sys

from faststream import (  # type: ignore[import-not-found,unused-ignore]  # extra `bench`
    AckPolicy,
    FastStream,
)
from faststream.redis import (  # type: ignore[import-not-found,unused-ignore]  # extra `bench`
    RedisBroker,
    StreamSub,
)
from faststream.redis.annotations import (  # type: ignore[import-not-found,unused-ignore]  # extra `bench`
    Pipeline,
    RedisBatchStreamMessage,
    RedisStreamMessage,
)
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.designs import surroundings
from benchmarks.designs.orm import OrderModel, engine_url, executed

# Warnings only: by itself it writes two lines for each message.
log = logging.getLogger(__name__)
broker = RedisBroker(surroundings.redis_url(), logger=log)
sessions = async_sessionmaker(create_async_engine(engine_url()))


async def execute_one(order: OrderModel, message: RedisStreamMessage) -> None:
    """Execute one order, commit it, publish its result."""
    row, result = executed(order, message.raw_message["message_ids"][0].decode())
    async with sessions() as session:
        session.add(row)
        await session.commit()
    await broker.publish(result, stream=surroundings.RESULTS)


async def execute_batch(orders: list[OrderModel], message: RedisBatchStreamMessage, pipe: Pipeline) -> None:
    """Execute a batch of orders, commit it, publish its results in one go."""
    entry_ids = message.raw_message["message_ids"]
    done = [executed(order, entry_id.decode()) for order, entry_id in zip(orders, entry_ids, strict=True)]
    async with sessions() as session:
        session.add_all(row for row, _ in done)
        await session.commit()
    for _, result in done:
        await broker.publish(result, stream=surroundings.RESULTS, pipeline=pipe)
    await pipe.execute()


def subscribe(*, batch: bool) -> None:
    """Subscribe one of the two handlers."""
    stream = StreamSub(
        surroundings.ORDERS,
        group=surroundings.GROUP,
        consumer=surroundings.consumer(),
        batch=batch,
        max_records=surroundings.batch_size() if batch else None,
    )
    subscriber = broker.subscriber(stream=stream, ack_policy=AckPolicy.NACK_ON_ERROR)
    subscriber(execute_batch if batch else execute_one)


if __name__ == "__main__":
    subscribe(batch=sys.argv[1:] == ["batch"])
    asyncio.run(FastStream(broker, logger=log).run())
