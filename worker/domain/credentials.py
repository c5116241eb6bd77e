"""User and password as a callback of one's own gives them: WORKER_CREDENTIALS names it."""

from typing import Literal, Protocol

from msgspec import Struct


class Server(Struct, frozen=True):
    """A server that is about to be connected to, as its URL names it. Of several hosts none is told."""

    kind: Literal["redis", "postgresql"]
    user: str | None
    host: str | None
    port: int | None


class Credentials(Protocol):
    """What is asked before each new connection."""

    def __call__(self, server: Server, /) -> tuple[str, str]:
        """Return user and password, an empty user for the default one of Redis.

        It is called in a thread of its own, for both servers perhaps at once. It has three seconds; if it
        takes longer, its answer serves the next try. What it raises is an outage of that server, told by its
        class alone, since its text may hold a secret.
        """
