"""Consumer groups in memory, and the order of entry ids."""

from dataclasses import dataclass, field


@dataclass
class Pending:
    """One entry of a group's pending list."""

    consumer: str
    since_ms: int
    count: int


@dataclass
class Group:
    """A consumer group."""

    delivered: tuple[int, int] = (0, 0)
    pending: dict[str, Pending] = field(default_factory=dict)
    consumers: set[str] = field(default_factory=set)
    heard_ms: dict[str, int] = field(default_factory=dict)
    read: int | None = None

    @property
    def needs(self) -> tuple[int, int]:
        """The first id that it has not done with."""
        return min([self.delivered, *map(id_order, self.pending)])


def id_order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)
