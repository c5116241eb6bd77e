"""From when on entries may still come: to any group of the stream, or from where they were trimmed."""

from worker.domain.pruning import KeptFrom
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages
from worker.stream.names import RedisNames
from worker.stream.scripts import source
from worker.stream.xinfo import StreamInformation


class Coming:
    """Asks Redis. Raises Outage; nothing is changed."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._names = names
        self._information = StreamInformation(link, names)
        self._coming = link.script(source("coming"))

    def kept_from(self) -> KeptFrom | None:
        """Return from when on entries are kept, or pending, or not read yet, whichever is first.

        None where nobody can know it now: without the stream or our group, and as long as the inbox has yet
        to be asked about an entry that was trimmed while it was pending.
        """
        names = self._names
        with outages():
            groups = {names.group, *(each.name for each in self._information.groups())}
            found = self._coming(
                [names.orders, *(names.trimmed_of(group) for group in groups)], [names.group]
            )
        return None if found is None else KeptFrom(int(found))
