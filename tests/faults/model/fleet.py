"""One fleet of a simulated world: streams, what was sent to it, and what is known of how that came about."""

from collections import Counter

from msgspec import Struct

from tests.builders import decoder
from tests.fakes import FakeStream
from tests.faults.model.plan import Kind
from worker.domain.deliveries import Delivery
from worker.domain.fleets import Fleet
from worker.domain.orders import Undecodable


class Sent(Struct, frozen=True):
    """An entry that Redis took."""

    kind: Kind
    order_id: str | None
    fields: tuple[bytes, ...]


class SimulatedFleet:
    """A fleet on its orders stream. `names` says under which source it works and where it publishes."""

    def __init__(self, names: Fleet, stream: FakeStream, ending: str) -> None:
        self.names = names
        self.stream = stream
        # What its order ids end in, so that no other fleet has them.
        self.ending = ending
        self.decoder = decoder(source=names.source)
        # The log of every entry that Redis took, and those that no store knows any more; the same of entries
        # that came under an id that another one had before them.
        self.accepted: dict[str, Sent] = {}
        self.gone: set[str] = set()
        self.again: dict[str, Sent] = {}
        self.gone_again: set[str] = set()
        self.closed: dict[int, str] = {}
        # What people decided where nobody could know: orders given out once more, entries taken for
        # published.
        self.given_again = Counter[str]()
        self.taken_for_published: set[str] = set()
        self.decided: set[str] = set()
        self._fingerprints: dict[str, bytes | None] = {}

    def fingerprint(self, entry_id: str) -> bytes | None:
        """Return the fingerprint of the order that an entry was first, None where it was none."""
        if entry_id not in self._fingerprints:
            order = self.decoder.decode(Delivery(entry_id, self.accepted[entry_id].fields, 1, True))
            self._fingerprints[entry_id] = None if isinstance(order, Undecodable) else order.fingerprint
        return self._fingerprints[entry_id]

    @property
    def ever_published(self) -> list[dict[str, str]]:
        """What is on its results stream or was taken away from there: readers may have seen all of it."""
        return [*self.stream.results, *self.stream.results.gone]

    def note_losses(self) -> None:
        """Entries that no store knows any more are lost: nobody can settle them."""
        stream = self.stream
        known = stream.entries.keys() | stream.settled | stream.trimmed.keys()
        self.gone |= self.accepted.keys() - known
        self.gone_again |= {
            each for each, sent in self.again.items() if stream.entries.get(each) != sent.fields
        }
