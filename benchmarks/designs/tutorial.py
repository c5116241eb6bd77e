"""The loop of the tutorials: one entry, one session, one commit, one result, one ack."""

from typing import Any

import redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from benchmarks.designs import surroundings
from benchmarks.designs.orm import OrderModel, engine_url, executed


def main() -> None:
    """Work until the process is ended."""
    client: Any = redis.Redis.from_url(surroundings.redis_url(), decode_responses=True)
    engine = create_engine(engine_url())
    while True:
        reply = client.xreadgroup(
            surroundings.GROUP, surroundings.consumer(), {surroundings.ORDERS: ">"}, count=1, block=2000
        )
        for entry_id, fields in _entries(reply):
            row, result = executed(OrderModel.model_validate(fields), entry_id)
            with Session(engine) as session:
                session.add(row)
                session.commit()
            client.xadd(surroundings.RESULTS, result)
            client.xack(surroundings.ORDERS, surroundings.GROUP, entry_id)


def _entries(reply: Any) -> list[tuple[str, dict[str, str]]]:  # noqa: ANN401  redis-py is half typed
    """Return the entries of the only stream; the library's answer depends on the protocol it speaks."""
    if not reply:
        return []
    if isinstance(reply, dict):
        (pages,) = reply.values()
        return [entry for page in pages for entry in page]
    ((_, entries),) = reply
    return list(entries)


if __name__ == "__main__":
    main()
