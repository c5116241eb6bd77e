"""What time it is: by the clock of Redis, which all replicas share, whatever their own say."""

from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages


class ServerClock:
    """The clock of one server. Raises Outage."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def now_ms(self) -> int:
        """Return the unix time in milliseconds."""
        with outages():
            seconds, microseconds = map(int, self._link.call("TIME"))
        return seconds * 1000 + microseconds // 1000

    def in_scripts(self) -> int | str:
        """Return what scripts that ask for the time get: nothing, since they take it from where they run."""
        return ""
