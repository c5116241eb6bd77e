"""The story of one order: what is known of it in both servers, from its entry to its result."""

from datetime import datetime

from msgspec import Struct

from worker.domain.evidence import Fate, Finding
from worker.domain.orders import OrderRecord, Trade
from worker.domain.pruning import Pruned
from worker.domain.texts import HIDDEN

# Of each stream so many entries are looked through at the most.
MOST_SEARCHED = 20_000
# Who sends an order again does so soon.
MOST_SEARCHED_FOR_DUPLICATES = 5_000


class Searched(Struct, frozen=True):
    """How much of a stream was looked through: so many entries, and whether `all` that could tell."""

    looked_at: int = 0
    all: bool = True


class Field(Struct, frozen=True):
    """A field of an entry as it may be shown: escaped where it is no text, cut where it is long."""

    name: str
    value: str


class Entered(Struct, frozen=True):
    """The entry that brought the order.

    It is `on_stream` as long as it was not trimmed; what stands under its id may hold `another` order, after
    somebody has deleted the stream.
    """

    entry_id: str
    on_stream: bool
    fields: tuple[Field, ...] = ()
    another: str | None = None


class Held(Struct, frozen=True):
    """Who holds a pending entry, for how long untouched, and charged with how many deliveries.

    What is `claimable` was left for longer than a lease, or given back by its consumer: then nobody holds it,
    and since when is None.
    """

    consumer: str
    idle_ms: int | None
    deliveries: int
    claimable: bool


class Row(Struct, frozen=True):
    """The row of the order, with its trades, and the source that has it where that is another."""

    record: OrderRecord
    recorded_at: datetime
    other_source: str | None = None


class Result(Struct, frozen=True):
    """A result on the stream, and the fields in which it is not that of the row.

    It is `redone` if that is as after a loss of rows: the same order was executed again later.
    """

    entry_id: str
    differs: tuple[str, ...] = ()
    redone: bool = False


class Results(Struct, frozen=True):
    """The results of the order that are on the stream.

    Those from before `lost_until_ms` may have been trimmed or deleted; 0: none that could be its own were.
    """

    found: tuple[Result, ...] = ()
    searched: Searched = Searched()
    lost_until_ms: int = 0


class Letter(Struct, frozen=True):
    """A dead letter of the entry, or of the one that it replays, and how it was closed, if it was.

    `mark` is what its entry is marked as.
    """

    letter_id: str
    entry_id: str
    reason: str
    error: str
    state: str
    mark: str = ""
    deliveries: str = ""
    closed_by: str | None = None
    closed_at: str | None = None
    replayed_as: str | None = None
    fields: tuple[Field, ...] = ()


class Letters(Struct, frozen=True):
    """The dead letters that were found."""

    found: tuple[Letter, ...] = ()
    searched: Searched = Searched()


class Duplicates(Struct, frozen=True):
    """Other entries that hold an order of the same id, from the first one on."""

    entry_ids: tuple[str, ...] = ()
    searched: Searched = Searched()


class Story(Struct, frozen=True):
    """All that is known of an order, or of an entry of one.

    What `checked_at` stands for: how the entry stands was asked right before, everything else right after.
    Where it has no row, `pruned` tells of rows that were let go: of the day on which its entry came, if that
    is known. `findings` are what an audit would say of it. Where it is not `steady` it changed each time it
    was looked at. Nobody can tell whose an `unclaimed` row is. The entry is the one that owns the row, or it
    is told that it is not: then it is a duplicate where its order has the row's content.
    """

    identifier: str
    checked_at: datetime
    order_id: str | None = None
    entered: Entered | None = None
    fate: Fate = Fate()
    held: Held | None = None
    row: Row | None = None
    pruned: Pruned | None = None
    is_owner: bool = True
    is_duplicate: bool = False
    results: Results = Results()
    letters: Letters = Letters()
    duplicates: Duplicates = Duplicates()
    findings: tuple[Finding, ...] = ()
    steady: bool = True
    unclaimed: bool = False
    # Names of fields in small letters, whose values are not to be shown.
    hidden: frozenset[str] = frozenset()

    @property
    def may_be_pruned(self) -> bool:
        """Whether the row of its one result may have been let go: of its day some that had results were."""
        return self.pruned is not None and self.pruned.results > 0 and len(self.results.found) == 1

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Its trades, in the order of their ids."""
        return () if self.row is None else self.row.record.trades

    def shown(self, name: str, value: object) -> object:
        """Return what a column says as it may be shown."""
        return HIDDEN if value is not None and name.casefold() in self.hidden else value

    @property
    def letter(self) -> Letter | None:
        """The newest of its dead letters."""
        return self.letters.found[-1] if self.letters.found else None

    @property
    def mark(self) -> str:
        """Whether its entry is marked as settled."""
        if self.fate.marked:
            return "yes"
        return "dropped by retention" if self.fate.old else "no"
