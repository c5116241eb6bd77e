"""What must hold at the end of every history: the invariants of the design, on the stores of the model."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache

from tests.builders import decoder, pairs
from tests.faults.model.plan import OUTAGES
from tests.faults.model.state import RESTART_AFTER_S
from tests.faults.model.world import World
from worker import wire
from worker.consumer.loop import LONGEST_WAIT_S
from worker.domain.deliveries import Delivery
from worker.domain.orders import WITH_RESULT, OrderRecord, Status, Undecodable

_DECODER = decoder()


def violations(world: World) -> list[str]:
    """Return what does not hold, empty where all is well."""
    return world.violations + [
        broken for check in (_ends, _results, _effects, _deliveries, _time) for broken in check(world)
    ]


@cache
def _fingerprint(entry_id: str, fields: tuple[bytes, ...]) -> bytes | None:
    order = _DECODER.decode(Delivery(entry_id, fields, 1, True))
    return None if isinstance(order, Undecodable) else order.fingerprint


def _ends(world: World) -> Iterator[str]:
    """I1, I2: every entry has come to exactly one end, and nothing has that nobody sent."""
    letters = Counter(letter["entry_id"] for letter in map(pairs, world.stream.letters))
    owners = {row.entry_id: row for row in world.table.rows.values()}
    published = {result["entry_id"] for result in world.stream.results}
    if not world.all_settled:
        yield f"I1: something is pending or undelivered: {world.stream.group}"
    yield from (f"I2: {each} has {times} dead letters" for each, times in letters.items() if times > 1)
    yield from (f"I2: {each} has a result and a dead letter" for each in letters.keys() & published)
    ended = letters.keys() | owners.keys() | published
    yield from (f"I1: nobody sent {each}" for each in ended - world.accepted.keys())
    for entry_id in world.accepted:
        yield from _end(world, entry_id, owners.get(entry_id), buried=entry_id in letters)


def _end(world: World, entry_id: str, row: OrderRecord | None, *, buried: bool) -> Iterator[str]:
    """I1, I2, I7: it owns a row, or was buried, or came after another entry that said the same."""
    sent, lost = world.accepted[entry_id], entry_id in world.gone
    fingerprint = _fingerprint(entry_id, sent.fields)
    if row is not None:
        if (row.status is Status.DEAD) != buried and not lost:
            yield f"I2: {entry_id} is {row.status}, buried: {buried}"
        if row.fingerprint not in {fingerprint, b""}:
            yield f"I7: the row of {entry_id} is not its entry"
    elif not buried and not lost:
        standing = world.table.rows.get(sent.order_id or "")
        if standing is None:
            yield f"I1: {entry_id} is lost"
        elif standing.fingerprint != fingerprint:
            yield f"I7: {entry_id} was acked as a duplicate of {standing.entry_id}"


def _results(world: World) -> Iterator[str]:
    """I4, I5: one result for each row that has one, none without; and it says what the row says."""
    repeated = [
        order for order, n in Counter(each["order_id"] for each in world.stream.results).items() if n > 1
    ]
    if repeated:
        yield f"I4: several results for {repeated}"
    published = {result["order_id"]: result for result in world.stream.results}
    rows = world.table.rows
    for order_id, row in rows.items():
        if row.status in WITH_RESULT and order_id not in published:
            yield f"I4: no result for {order_id}"
    for order_id, result in published.items():
        standing = rows.get(order_id)
        if standing is None or standing.status not in WITH_RESULT:
            yield f"I4: a result for {order_id} without a row"
        elif result != pairs(wire.result_fields(standing)):
            yield f"I5: the result of {order_id} is not its row"


def _effects(world: World) -> Iterator[str]:
    """I3: the trades of a row are its filled quantity; I7: a row is the first that was committed."""
    for order_id, row in world.table.rows.items():
        if sum((trade.quantity for trade in row.trades), Decimal(0)) != row.filled_quantity:
            yield f"I3: the trades of {order_id} are not its quantity"
        if world.rows.get(order_id) is not row:
            yield f"I7: the row of {order_id} was changed by nobody"


def _deliveries(world: World) -> Iterator[str]:
    """I8: a poison is buried after at most so many deaths, and nobody is buried for what others did."""
    # The count goes with the entry: whoever slept with it in hand while it was trimmed can't know who tried since.
    asleep = (
        world.struck["stops after"] + world.struck["stops before"] if world.struck["entry trimmed"] else 0
    )
    for entry_id, deaths in world.deaths.items():
        if deaths > world.plan.max_deliveries + asleep and not world.counts_lost:
            yield f"I8: {entry_id} took {deaths} processes down"
    for letter in map(pairs, world.stream.letters):
        sent = world.accepted.get(letter["entry_id"])
        if sent is not None and not _deserved(world, letter, sent.kind):
            yield f"I8: {letter['entry_id']}, {sent.kind}, is buried as {letter['reason']}"


def _deserved(world: World, letter: dict[str, str], kind: str) -> bool:
    owner = (letter.get("order_id") or "").partition("-")[0]
    # What a poison costs its neighbours is two deliveries; who runs alone is charged for itself.
    worn_out = world.disruptions + (2 if world.deaths else 0) >= world.plan.max_deliveries
    grounds = {
        "undecodable": kind == "undecodable",
        "conflict": letter.get("order_id") in world.table.rows,
        "trimmed": "entry trimmed" in world.struck,
        "database_rejected": owner == "refused",
        "failed": owner == "raises" or "raises" in world.struck,
        "poison": owner in {"poison", "raises"} or worn_out,
    }
    return grounds.get(letter["reason"], False)


def _time(world: World) -> Iterator[str]:
    """I9: outages are over with the next back-off; what somebody else held is taken over after its lease."""
    plan = world.plan
    scan_s = plan.lease_s / 4
    # The longest back-off, a read that blocks until the next scan, and the work.
    at_most_s = LONGEST_WAIT_S + scan_s + 2
    if any(sent.kind == "raises" for sent in world.accepted.values()):
        at_most_s += 2**plan.max_deliveries
    if world.deaths or not world.struck.keys() <= OUTAGES or ("reply lost", "claim") in world.struck_calls:
        at_most_s += plan.lease_s + scan_s + RESTART_AFTER_S
    if "entry trimmed" in world.struck:
        # Its owner may be alive and at work on it: that takes another lease to know.
        at_most_s += plan.lease_s + scan_s
    at_most_s += sum(
        fault.for_s for fault in plan.faults if fault.kind == "clock back" and fault.kind in world.struck
    )
    if world.settled_after_s > at_most_s:
        yield f"I9: settled {world.settled_after_s:.1f} s after the last fault healed, at most {at_most_s:.1f} s"
