"""Reads all results, going on where it was: python reader.py CONSUMER [SECONDS to wait]."""

import os
import sys
from decimal import Decimal

from redis import RedisError

from worker.client import OrderResult, Results, Status, connect


def handle(result: OrderResult) -> None:
    """Do what a reader is for. It has the result again if it dies in here."""
    if result.status is Status.FILLED:
        worth = result.filled_quantity * (result.price or Decimal(0))
        print(result.order_id, result.side, result.filled_quantity, result.symbol, "worth", worth, flush=True)
    else:
        print(result.order_id, result.status, result.error_message, flush=True)


def main(consumer: str, seconds: str | None = None) -> None:
    """Handle result after result. Each consumer of the group has results of its own."""
    wait_s = None if seconds is None else float(seconds)
    stream = os.environ.get("WORKER_RESULTS_STREAM", "order_results")
    with connect(os.environ.get("REDIS_URL", ""), stream=stream) as client:
        results = Results(client, stream)
        for result in results.read("example", consumer, wait_s=wait_s):
            handle(result)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RedisError, ValueError) as error:
        sys.exit(f"mend REDIS_URL or an argument: {error}")
