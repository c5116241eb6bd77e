"""What the streams and the table say, asked of the servers themselves."""

from contextlib import closing
from typing import Any

import psycopg
from redis import Redis

from local.demo.balance import Evidence, Row
from local.demo.producer import ORDERS, Sent

RESULTS = "order_results"
LETTERS = "orders:dead"
GROUP = "execution"
# More than there are pending at any time.
MANY = 10_000
ROWS = """
SELECT o.order_id, o.entry_id, o.status, count(t.order_id)
FROM orders o LEFT JOIN trades t USING (order_id) GROUP BY o.order_id
"""


class Streams:
    """Looks at orders, results, dead letters and rows; changes nothing."""

    def __init__(self, client: Redis, database_url: str) -> None:
        self._client: Any = client
        self._database_url = database_url

    def held_by(self, pid: int) -> list[str]:
        """Return the entries that the consumer of this process has in hand, or had when it died."""
        for each in self._client.xinfo_consumers(ORDERS, GROUP):
            if f"-{pid}-" in each["name"]:
                return [entry["message_id"] for entry in self._pending(each["name"])]
        return []

    def deliveries(self) -> dict[str, int]:
        """Return how often each entry that is pending has been delivered."""
        return {each["message_id"]: each["times_delivered"] for each in self._pending(None)}

    def are_acked_up_to(self, entry_id: str) -> bool:
        """Tell whether the entry and all before it have been delivered and acked."""
        for group in self._client.xinfo_groups(ORDERS):
            if group["name"] == GROUP and order_of(group["last-delivered-id"]) >= order_of(entry_id):
                return not self._client.xpending_range(ORDERS, GROUP, "-", entry_id, 1)
        return False

    def results(self) -> dict[str, str]:
        """Return which order each entry's result is of."""
        return {fields["entry_id"]: fields["order_id"] for _, fields in self._client.xrange(RESULTS)}

    def letters(self) -> dict[str, str]:
        """Return the id of the dead letter of each entry that was buried."""
        return {fields["entry_id"]: letter for letter, fields in self._client.xrange(LETTERS)}

    def evidence(self, sent: list[Sent]) -> Evidence:
        """Return all that there is about orders."""
        with closing(psycopg.connect(self._database_url)) as connection:
            rows = connection.execute(ROWS).fetchall()
        return Evidence(
            sent=[(each.entry_id, each.order_id) for each in sent],
            entries=[(entry_id, fields["order_id"]) for entry_id, fields in self._client.xrange(ORDERS)],
            results=[(each["entry_id"], each["order_id"]) for _, each in self._client.xrange(RESULTS)],
            letters=[(each["entry_id"], each["order_id"]) for _, each in self._client.xrange(LETTERS)],
            rows=[Row(*row) for row in rows],
        )

    def _pending(self, consumer: str | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.xpending_range(
            ORDERS, GROUP, "-", "+", MANY, consumername=consumer
        )
        return found


def order_of(entry_id: str) -> tuple[int, int]:
    """Return what entry ids are ordered by."""
    milliseconds, number = entry_id.split("-")
    return int(milliseconds), int(number)
