"""Adds an order and waits for its result: python producer.py SYMBOL BUY|SELL QUANTITY [PRICE [ORDER_ID]]."""

import os
import sys

from redis import RedisError

from worker.client import Backlogged, Buried, Order, Producer, Results, Unanswered, connect, new_order_id


def main(symbol: str, side: str, quantity: str, price: str | None = None, order_id: str | None = None) -> int:
    """Add the order, and say what became of it. Return an exit code."""
    url = os.environ.get("REDIS_URL", "")
    awaiting_url = os.environ.get("AWAITING_REDIS_URL", url)  # Another user, where rights are the least.
    orders = os.environ.get("WORKER_ORDERS_STREAM", "orders")
    results = os.environ.get("WORKER_RESULTS_STREAM", "order_results")
    dead_letters = os.environ.get("WORKER_DEAD_LETTER_STREAM", "orders:dead")
    with connect(url, stream=orders) as client, connect(awaiting_url, stream=results) as awaiting:
        # So many attempts outlast the promotion of a replica.
        producer = Producer(client, orders, most_waiting=10_000, wait_s=5, attempts=15)
        order = Order(symbol, side, quantity, price, order_id=order_id or new_order_id())
        try:
            added = producer.add(order)
            result = Results(awaiting, results, dead_letters, orders=orders).of(added, timeout_s=30)
        except (Backlogged, Buried, TimeoutError) as error:
            print(error)
            return 1
        except Unanswered as error:
            print(error)  # It may have been added: whoever tries again does so under this order id.
            return 3
    became = result.error_message or f"{result.filled_quantity} at {result.price}"
    print(result.order_id, result.status, became)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (RedisError, ValueError) as error:
        sys.exit(f"mend REDIS_URL, AWAITING_REDIS_URL or an argument: {error}")
