"""What the client raises beside the errors of redis-py.

    ClientError
    ├── Backlogged       too much is waiting: the order was not sent
    ├── Unanswered       the order may have been added or not: add it again under its order id
    ├── Unconfirmed      the order was added, but not as durably as asked
    ├── Unsupported      the server can't confirm what is asked: the order was not sent
    ├── Buried           the order has a dead letter in the place of a result
    └── Unreadable       an entry of the results stream is no result: handed to the reader's `unreadable`

A result that does not come in time is Python's own TimeoutError.
"""

from worker.client.order import Added, Order


def named_error(error: Exception) -> str:
    """Return what a server said by its code, or else the class and what redis-py says."""
    text = str(error)
    return text if text.partition(" ")[0].isupper() else f"{type(error).__name__}: {text}"


class ClientError(Exception):
    """What all of these are."""


class Backlogged(ClientError):
    """More orders wait for the worker than the producer allows; this one was not sent."""

    def __init__(self, order: Order, waiting: int, most_waiting: int) -> None:
        super().__init__(
            f"order {order.order_id} was not sent: {waiting} orders are waiting, at most {most_waiting} may"
        )
        self.order = order
        self.waiting = waiting


class Unanswered(ClientError):
    """No attempt was answered by an entry id: nobody knows whether the order was added.

    Adding `order` again is safe. The cause is what the last attempt failed with.
    """

    def __init__(self, order: Order, attempts: int, last: Exception) -> None:
        super().__init__(
            f"order {order.order_id} may have been added or not in {attempts} attempts, the last of which"
            f" failed ({named_error(last)}): add it again under the same order id"
        )
        self.order = order


class Unconfirmed(ClientError):
    """The order was added and may be executed, but too few servers confirmed in time that they keep it."""

    def __init__(self, order: Order, added: Added, said: str) -> None:
        super().__init__(
            f"order {added.order_id} was added as {added.entry_id} and may be executed, but {said}: "
            "await its result, or add it again under the same order id"
        )
        self.order = order
        self.added = added


class Unsupported(ClientError):
    """The server can't confirm that it keeps orders as asked; nothing was sent."""


class Buried(ClientError):
    """The order has a dead letter: it has no result, and none will come unless somebody replays it."""

    def __init__(self, order_id: str, entry_id: str, reason: str, error: str) -> None:
        super().__init__(f"order {order_id} was buried as {reason}: {error}")
        self.order_id = order_id
        self.entry_id = entry_id
        self.reason = reason
        self.error = error


class Unreadable(ClientError):
    """An entry of the results stream is no result. It stands there under its id until it is trimmed."""

    def __init__(self, stream: str, entry_id: str, fields: dict[str, str], why: Exception) -> None:
        super().__init__(f"entry {entry_id} of {stream} is no result: {why!r}")
        self.entry_id = entry_id
        self.fields = fields
