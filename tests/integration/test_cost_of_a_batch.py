"""What a batch costs, counted, not timed: one read, one transaction, one settle, for any number of orders."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread
from typing import Any

import pytest
from redis.connection import AbstractConnection
from sqlalchemy import Engine, event

from tests.harness import Deployment, eventually, names_of, numbered_orders
from tests.inprocess import running

FEW, MANY = 5, 25
Batch = list[dict[str, str]]


@contextmanager
def noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note what the loop's thread sends to Redis, by command, and to PostgreSQL."""
    sent: list[str] = []
    send: Any = AbstractConnection.send_packed_command

    def note(what: str) -> None:
        if current_thread().name == "loop":
            sent.append(what)

    def sending(self: Any, command: Any, *args: Any, **named: Any) -> Any:
        sent_together = b"".join([command] if isinstance(command, bytes) else command)
        # A round trip of several commands: each of them begins with how many words it has.
        for name in re.findall(rb"\*[0-9]+\r\n\$[0-9]+\r\n([A-Z]+)\r\n", sent_together):
            note(name.decode())
        note("round trips")
        return send(self, command, *args, **named)

    def executing(*_: Any) -> None:
        note("statements")

    def committing(_: Any) -> None:
        note("transactions")

    with monkeypatch.context() as patched:
        patched.setattr(AbstractConnection, "send_packed_command", sending)
        event.listen(Engine, "before_cursor_execute", executing)
        event.listen(Engine, "commit", committing)
        try:
            yield sent
        finally:
            event.remove(Engine, "before_cursor_execute", executing)
            event.remove(Engine, "commit", committing)


def cost(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, batches: list[Batch]) -> Counter[str]:
    """Return what it takes to settle batches that are all there when a replica starts."""
    for batch in batches:
        deployment.submit(batch)
    names = names_of(deployment, "any")
    # Each is to begin as if nobody had been there: with a look, with retention, with the line of its stream.
    deployment.redis.delete(names.looking, names.tidying, names.registering)
    with (
        noted(monkeypatch) as sent,
        running(deployment, batch_size=len(batches[0]), repair_window_s=0, lease_ms=600_000),
    ):
        eventually(deployment.all_settled)
    # What comes after the last commit depends on how soon somebody looks.
    return Counter(sent[: len(sent) - sent[::-1].index("transactions")])


def sound(size: int, first: int, count: int) -> list[Batch]:
    """Batches of orders with ids of their own."""
    orders = numbered_orders((first + count) * size)
    return [orders[each * size : (each + 1) * size] for each in range(first, first + count)]


def mixed(size: int, first: int, count: int) -> list[Batch]:
    """The same with a rejected order, one that is none, two that came before: in this batch, in the last."""
    batches = sound(size, first, count)
    for number, batch in enumerate(batches):
        batch[1] |= {"quantity": "0"}
        batch[2] = {"payload": "{"}
        batch[3] = batch[4]
        batch[5] = batches[number - 1][6]
    return batches


@pytest.mark.parametrize("size", [10, 200])
@pytest.mark.parametrize(("kind", "statements"), [(sound, 3), (mixed, 5)])
def test_batch_costs_one_read_one_transaction_and_one_settle_however_many_it_holds(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, kind: Any, statements: int, size: int
) -> None:
    few = cost(deployment, monkeypatch, kind(size, 0, FEW))
    many = cost(deployment, monkeypatch, kind(size, FEW, MANY))

    more = MANY - FEW
    costs = {what: many[what] - few[what] for what in few | many if many[what] != few[what]}
    # Settling is a script, and so is counting what was lost unread, which goes out with the read. The
    # statements: the transaction's beginning and its limits, the orders, their trades; which are known, and
    # what stands there of those. What goes with the commit is sent past SQLAlchemy.
    assert costs == {
        "XREADGROUP": more, "EVALSHA": 2 * more, "round trips": 2 * more, "transactions": more,
        "statements": statements * more,
    }  # fmt: skip
