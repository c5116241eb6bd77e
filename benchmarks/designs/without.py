"""The worker without one of its guarantees, to see what that costs: `without.py NAME,... run`.

Nothing of it is in the product. What is left out in the tables, the scenario leaves out.
"""

import sys
from collections.abc import Callable, Iterable, Mapping

from worker.__main__ import main
from worker.bootstrap import replica
from worker.consumer.lease import Lease
from worker.domain.deliveries import Delivery
from worker.store.fidelity import Fidelity
from worker.stream import orders
from worker.stream.scripts import source
from worker.wire import flat

# What settle.lua does, but for marks, doubts and what is left to others.
_UNMARKED = """
local orders, results, letters = KEYS[1], KEYS[2], KEYS[3]
local ids, published, buried = {}, 0, 0
for place, settlement in ipairs(cmsgpack.unpack(ARGV[6])) do
  ids[place] = settlement[1]
  if settlement[2] == 'publish' then
    redis.call('XADD', results, '*', unpack(settlement[3]))
    published = published + 1
  elseif settlement[2] == 'bury' then
    redis.call('XADD', letters, '*', unpack(settlement[3]))
    buried = buried + 1
  end
end
for first = 1, #ids, 3900 do
  redis.call('XACK', orders, ARGV[1], unpack(ids, first, math.min(first + 3899, #ids)))
end
return {published, buried, {}, {}, ARGV[5], 0, 0, ''}
"""


class Unleased(Lease):
    """Knows what is in hand, for which what was decoded is kept; renews nothing, finds nothing lost."""

    def hold(self, deliveries: Iterable[Delivery], *, since: float | None = None) -> list[Delivery]:
        """Return them as they are."""
        del since
        held = list(deliveries)
        self._held.update((delivery.entry_id, 0) for delivery in held)
        return held

    def let_go(self, deliveries: Iterable[Delivery]) -> None:
        """Forget them."""
        for delivery in deliveries:
            self._held.pop(delivery.entry_id, None)

    def renew(self) -> None:
        """Renew nothing."""

    def lost(self, deliveries: Iterable[Delivery], *, for_s: float = 0.0) -> set[str]:
        """Return none."""
        del deliveries, for_s
        return set()


def _marks() -> None:
    vars(orders)["source"] = lambda name: _UNMARKED if name == "settle" else source(name)


def _leases() -> None:
    vars(replica)["Lease"] = Unleased


def _fingerprints() -> None:
    constant = bytes(33)
    vars(flat)["digest_of"] = lambda _: constant


def _guard() -> None:
    Fidelity.guard = None  # type: ignore[assignment,method-assign]


LEFT_OUT: Mapping[str, Callable[[], None]] = {
    "marks": _marks,
    "leases": _leases,
    "fingerprints": _fingerprints,
    "guard": _guard,
}


if __name__ == "__main__":
    for each in sys.argv.pop(1).split(","):
        LEFT_OUT[each]()
    main()
