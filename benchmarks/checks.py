"""What must be true after a run, so that its figure counts."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run must leave behind. `results` exceeds `orders` where a design answers repeats again."""

    orders: int
    results: int
    letters: int = 0

    def besides(self, orders: int) -> "Wanted":
        """Return the same with so many orders more, each with one result."""
        return replace(self, orders=self.orders + orders, results=self.results + orders)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run has left behind."""

    rows: int
    filled: int
    trades: int
    results: int
    orders_with_result: int
    letters: int
    pending: int
    unread: bool


def faults(wanted: Wanted, found: Found) -> list[str]:
    """Return what is wrong, one sentence each; nothing where the figure of the run may be used."""
    counts = (
        ("rows in orders", found.rows, wanted.orders),
        ("rows in trades, one for each filled order", found.trades, found.filled),
        ("results", found.results, wanted.results),
        ("orders with a result", found.orders_with_result, wanted.orders),
        ("dead letters", found.letters, wanted.letters),
        ("pending entries", found.pending, 0),
    )
    wrong = [f"{what}: {here:,} instead of {due:,}" for what, here, due in counts if here != due]
    if found.unread:
        wrong.append("entries that nobody has read")
    return wrong
