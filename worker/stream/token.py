"""What streams are known by, wherever their names are used again."""

import secrets

from worker.domain.errors import Outage
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames

# Somebody may delete it between the two steps; whoever goes on doing so keeps us from being known.
TRIES = 5


class StreamToken:
    """The tokens beside the streams: lost with them, and made anew. Raises Outage."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def is_known(self) -> bool:
        """Whether the orders stream has a token."""
        with outages():
            return bool(self._link.call("EXISTS", self._names.token))

    def token(self) -> str:
        """Return the token of the orders stream, the same for all who ask; where there is none it is made."""
        return self._made(self._names.token)

    def results_token(self) -> str:
        """Return that of the results stream."""
        return self._made(self._names.results_token)

    def _made(self, key: str) -> str:
        # In one command, SET with NX and GET, only from Redis 7.0 on.
        for _ in range(TRIES):
            with outages():
                self._link.call("SET", key, secrets.token_hex(16), "NX")
                found = self._link.call("GET", key)
            if found is not None:
                return text(found)
        raise Outage("redis", f"the key {key} vanishes as soon as it is set")
