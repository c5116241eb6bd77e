"""What a storm has shown, in figures."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from tests.faults.storm.ends import Reader
from tests.faults.storm.traffic import Traffic
from tests.harness import Deployment


@dataclass(frozen=True)
class Recovery:
    """Seconds from a fault to the next results at the reader, without the time in which a server was down."""

    median_s: float
    p99_s: float
    worst_s: float


def recovery(
    struck: Sequence[tuple[float, str]], down: Iterable[tuple[float, float]], arrivals: Sequence[float]
) -> dict[str, Recovery]:
    """Return the recovery by kind of fault, and of `all`. What struck after the last result has none."""
    waits: dict[str, list[float]] = defaultdict(list)
    gone = sorted(down)
    for at, kind in struck:
        since, following = at, bisect_right(arrivals, at)
        for began, ended in gone:
            # Down when it struck, or before anything came of it.
            if following < len(arrivals) and began <= arrivals[following] and since < ended:
                since = ended
                following = bisect_right(arrivals, since)
        if following < len(arrivals):
            waits[kind].append(arrivals[following] - since)
            waits["all"].append(arrivals[following] - since)
    return {kind: spread(found) for kind, found in waits.items()}


def spread(waits: Sequence[float]) -> Recovery:
    """Return median, 99th percentile (the nearest rank) and worst."""
    ranked = sorted(waits)
    return Recovery(
        round(ranked[len(ranked) // 2], 3),
        round(ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)], 3),
        round(ranked[-1], 3),
    )


def seconds_to_result(entry_ids: Mapping[str, str]) -> list[float]:
    """Return how long orders took from XADD to their result, by the ids of both entries, on Redis' clock."""
    return [(_milliseconds(result) - _milliseconds(order)) / 1000 for order, result in entry_ids.items()]


def _milliseconds(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


@dataclass(frozen=True)
class Account:
    """What became of the orders, those of several fleets added up. All counts but `dead` must be 0."""

    lost: int
    doubled: int
    missing_results: int
    seen_twice: int
    unseen: int
    forgotten_by_redis: int
    innocents_buried: int
    dead: Counter[str]
    seconds_to_result: list[float]

    def __add__(self, other: "Account") -> "Account":
        return Account(
            **{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        )


def account(deployment: Deployment, sent: Traffic, acknowledged: Sequence[str], reader: Reader) -> Account:
    """Compare what was sent with what stands."""
    rows = deployment.rows()
    published = deployment.entries(deployment.results)
    orders = Counter[str]()
    by_entry: dict[str, str] = {}
    for result_id, pairs in published:
        result = dict(pairs)
        orders[result["order_id"].decode()] += 1
        by_entry[result["entry_id"].decode()] = result_id
    letters = deployment.letters()
    ids = {result_id for result_id, _ in published}
    kept = {entry_id for entry_id, _ in deployment.entries(deployment.orders)}
    buried = {letter.get("order_id", b"").decode() for letter in letters if letter["reason"] != b"conflict"}
    traded = sum(len(row.trades) > 1 for row in rows.values())
    return Account(
        lost=len((sent.executed | sent.poisonous) - rows.keys()),
        doubled=sum(count - 1 for count in orders.values()) + traded,
        missing_results=len(sent.executed - orders.keys()),
        seen_twice=sum(count - 1 for count in reader.seen.values()),
        unseen=len(ids.symmetric_difference(reader.ids)),
        forgotten_by_redis=len(set(acknowledged) - kept),
        innocents_buried=len(sent.executed & buried),
        dead=Counter(letter["reason"].decode() for letter in letters),
        seconds_to_result=seconds_to_result(by_entry),
    )
