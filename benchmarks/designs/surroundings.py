"""Where a design finds its servers and what it is called, by its environment."""

import os

ORDERS = "orders"
RESULTS = "order_results"
LETTERS = "orders:dead"
MARKS = "order_results:settled:orders"
GROUP = "execution"


def redis_url() -> str:
    """Return where Redis is."""
    return os.environ["REDIS_URL"]


def database_url() -> str:
    """Return where PostgreSQL is."""
    return os.environ["DATABASE_URL"]


def consumer() -> str:
    """Return the name of this process in the consumer group."""
    return os.environ["BENCH_CONSUMER"]


def batch_size() -> int:
    """Return how many entries are read at once."""
    return int(os.environ.get("BENCH_BATCH", "500"))
