"""What an orders stream is known by, wherever its name is used again."""

import secrets

from worker.stream.connection import RedisLink, RedisNames, outages, text


class StreamToken:
    """The token beside a stream: lost with it, and made anew. Raises Outage."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def token(self) -> str:
        """Return the token, the same for all who ask; where there is none it is made."""
        with outages():
            self._link.call("SET", self._names.token, secrets.token_hex(16), "NX")
            return text(self._link.call("GET", self._names.token))
