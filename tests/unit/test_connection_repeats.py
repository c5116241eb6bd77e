"""What the library makes of a connection that ends while a command is on its way."""

import asyncio

import pytest

from tests.listening import Listening
from worker.client import AsyncProducer, Order, Producer, Unanswered, connect, connect_async
from worker.domain.errors import Outage
from worker.stream import RedisLink
from worker.stream.link.outages import outages

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


class Silent(Listening):
    """Answers whatever a client says at the start, and ends the connection for anything else."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        super().__init__()

    def reply(self, request: bytes) -> bytes | None:
        """Return what lets a client begin, and nothing else."""
        if b"HELLO" in request:
            return HELLO
        if b"CLIENT" in request:
            return b"+OK\r\n"
        self.commands.append(request)
        return None


def test_command_whose_answer_is_lost_is_not_sent_again() -> None:
    server = Silent()
    link = RedisLink(f"redis://127.0.0.1:{server.port}", block_ms=10, client_name="test")

    with pytest.raises(Outage), outages():
        link.call("XADD", "orders", "*", "a", "1")
    link.close()
    server.stop()

    assert len(server.commands) == 1


def test_order_whose_answer_is_lost_is_not_added_again_by_the_library() -> None:
    server = Silent()

    with connect(f"redis://127.0.0.1:{server.port}") as client, pytest.raises(Unanswered):
        Producer(client, attempts=1).add(Order("X", "BUY", 1))
    server.stop()

    assert len(server.commands) == 1


def test_order_whose_answer_is_lost_is_not_added_again_by_the_library_with_asyncio() -> None:
    server = Silent()

    async def add() -> None:
        async with connect_async(f"redis://127.0.0.1:{server.port}") as client:
            await AsyncProducer(client, attempts=1).add(Order("X", "BUY", 1))

    with pytest.raises(Unanswered):
        asyncio.run(add())
    server.stop()

    assert len(server.commands) == 1
