"""How steps are carried out: what to ask Redis is decided once, for programs with and without asyncio.

A function that decides is a generator of steps: it asks for commands to be sent, or for time to pass, and is
sent the replies. `run` and `run_async` carry one out.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import redis

Command: TypeAlias = tuple[str | int, ...]
# What a server replies has no type before it is read.
Reply: TypeAlias = Any
T = TypeVar("T")

LONGEST_BLOCK_S = 1.0
# Some services answer at once what was to wait: then so many seconds go by from one read to the next.
LONGEST_PAUSE_S = 0.1
# The server is away, is not ready, or is not the primary any more: the same may be asked again.
REPEATABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,
    redis.exceptions.ClusterDownError,
)
# The library has no class for: too few replicas follow, and a read that was ended by a demotion.
_REPEATABLE_TEXTS = ("NOREPLICAS", "UNBLOCKED force unblock")
_FOR_GOOD = (redis.AuthenticationError, redis.exceptions.AuthorizationError)


@dataclass(frozen=True)
class Ask:
    """Commands for one connection, in turn. An error reply stands in its place; what else fails is raised."""

    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Wait:
    """Let so much time pass."""

    seconds: float


Steps: TypeAlias = Generator[Ask | Wait, Reply, T]


class Link(Protocol):
    """What sends commands; `patience_s` is how long it may be kept waiting for a reply."""

    patience_s: float

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one go, and return their replies in bytes, errors among them."""


class AsyncLink(Protocol):
    """What sends commands, with asyncio; `patience_s` is how long it may be kept waiting for a reply."""

    patience_s: float

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one go, and return their replies in bytes, errors among them."""


def run(steps: Steps[T], link: Link) -> T:
    """Carry out steps, and return what they come to."""
    try:
        step = next(steps)
        while True:
            step = following(steps, carried_out(step, link))
    except StopIteration as ended:
        result: T = ended.value
        return result


async def run_async(steps: Steps[T], link: AsyncLink) -> T:
    """Carry out steps, and return what they come to."""
    try:
        step = next(steps)
        while True:
            step = following(steps, await carried_out_async(step, link))
    except StopIteration as ended:
        result: T = ended.value
        return result


def carried_out(step: Ask | Wait, link: Link) -> Reply:
    """Carry out one step, and return the replies, or what kept them from coming."""
    if isinstance(step, Wait):
        return time.sleep(step.seconds)
    try:
        return link.call(step.commands)
    except redis.RedisError as error:
        return error


async def carried_out_async(step: Ask | Wait, link: AsyncLink) -> Reply:
    """Carry out one step, and return the replies, or what kept them from coming."""
    if isinstance(step, Wait):
        return await asyncio.sleep(step.seconds)
    before = _cancellations()
    try:
        outcome: Reply = await link.call(step.commands)
    except redis.RedisError as error:
        outcome = error
    if _cancellations() > before:
        # wait_for of Python 3.11, which redis-py sends by, forgets a cancellation that comes as it ends.
        raise asyncio.CancelledError
    return outcome


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def following(steps: Generator[T, Reply, object], outcome: Reply) -> T:
    """Tell what came of a step, and return the next one. Raises StopIteration after the last."""
    return steps.throw(outcome) if isinstance(outcome, redis.RedisError) else steps.send(outcome)


def asked(*commands: Command) -> Generator[Ask, Reply, list[Reply]]:
    """Ask, and return the replies; raise the first error among them."""
    replies: list[Reply] = yield Ask(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def waited_for(
    read: Command, block_s: float, *before: Command, clock: Callable[[], float] = time.monotonic
) -> Steps[Reply]:
    """Ask, after other commands, what waits so long for the first entry, and return its reply.

    Raises the first error among the replies. Where the server does not wait, nothing is asked again at once.
    """
    asked_at = clock()
    reply = (yield from asked(*before, read))[-1]
    not_waited_s = block_s - (clock() - asked_at)
    if not reply and not_waited_s > 0:
        yield Wait(min(not_waited_s, LONGEST_PAUSE_S))
    return reply


def block(block_s: float) -> tuple[str, int]:
    """Return the option of a read that waits so long; 0 would be for ever."""
    return ("BLOCK", max(1, int(block_s * 1000)))


def may_be_repeated(error: object) -> bool:
    """Whether an error says that the same may be asked again."""
    if isinstance(error, redis.ResponseError) and str(error).startswith(_REPEATABLE_TEXTS):
        return True
    return isinstance(error, REPEATABLE) and not isinstance(error, _FOR_GOOD)


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: twice as long each time, up to two seconds."""
    return float(min(0.1 * 2 ** (failures - 1), 2.0))


def named(reply: Reply) -> dict[str, Reply]:
    """Return what a server says by name, in whichever version of the protocol."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value for name, value in pairs}


def by_stream(reply: Reply) -> list[tuple[str, list[Reply]]]:
    """Return the entries of each stream that a read has replied with."""
    named = reply.items() if isinstance(reply, dict) else reply or []
    return [(name.decode(), entries) for name, entries in named]


def longest_block_s(link: Link | AsyncLink) -> float:
    """Return for how long a read may block: what goes on meanwhile is looked at in between."""
    return min(LONGEST_BLOCK_S, link.patience_s)
