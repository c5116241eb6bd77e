"""What must hold at the end of every history: the invariants of the design, on the stores of the model."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain

from tests.builders import pairs
from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.plan import MARKS_GONE, OUTAGES, WIPING
from tests.faults.model.state import RESTART_AFTER_S
from tests.faults.model.world import World
from worker import wire
from worker.consumer.loop import LONGEST_WAIT_S
from worker.domain.orders import WITH_RESULT, OrderRecord, Status


def violations(world: World) -> list[str]:
    """Return what does not hold, empty where all is well."""
    of_fleets = (
        broken
        for fleet in world.fleets
        for check in (_ends, _used_again, _results, _unknown, _deliveries)
        for broken in check(world, fleet)
    )
    return [*world.violations, *chain(_settled(world), of_fleets, _effects(world), _time(world))]


def _settled(world: World) -> Iterator[str]:
    """I1: nothing is left to be done."""
    if not world.all_settled:
        yield f"I1: something is pending or undelivered: {[fleet.stream.group for fleet in world.fleets]}"


def _ends(world: World, fleet: SimulatedFleet) -> Iterator[str]:
    """I1, I2: every entry has come to exactly one end, and nothing has that nobody sent."""
    again = {(entry_id, sent.order_id) for entry_id, sent in fleet.again.items()}
    buried = [(letter["entry_id"], letter.get("order_id")) for letter in map(pairs, fleet.stream.letters)]
    letters = Counter(each[0] for each in buried if each not in again)
    owners = {row.entry_id: row for row in world.table.of_source(fleet.names.source)}
    published = {
        result["entry_id"]
        for result in fleet.stream.results
        if world.table.source_of(result["order_id"]) == fleet.names.source
    }
    yield from (f"I2: {each} has {times} dead letters" for each, times in letters.items() if times > 1)
    yield from (f"I2: {each} has a result and a dead letter" for each in letters.keys() & published)
    ended = letters.keys() | owners.keys() | published
    yield from (f"I1: nobody sent {each}" for each in ended - fleet.accepted.keys())
    for entry_id in fleet.accepted:
        yield from _end(world, fleet, entry_id, owners.get(entry_id), buried=entry_id in letters)


def _end(
    world: World, fleet: SimulatedFleet, entry_id: str, row: OrderRecord | None, *, buried: bool
) -> Iterator[str]:
    """I1, I2, I7: it owns a row, or was buried, or came after another entry that said the same."""
    sent, lost = fleet.accepted[entry_id], entry_id in fleet.gone
    fingerprint = fleet.fingerprint(entry_id)
    if row is not None:
        if (row.status is Status.DEAD) != buried and not lost:
            yield f"I2: {entry_id} is {row.status}, buried: {buried}"
        if row.fingerprint not in {fingerprint, b""} or (row.fingerprint and row.order_id != sent.order_id):
            yield f"I7: the row of {entry_id} is not its entry"
    elif not buried and not lost:
        standing = world.table.rows.get(sent.order_id or "")
        if standing is None:
            yield f"I1: {entry_id} is lost"
        elif standing.fingerprint != fingerprint or _is_elsewhere(world, fleet, standing):
            yield f"I7: {entry_id} was acked as a duplicate of {standing.entry_id}"


def _may_be_renamed(world: World, fleet: SimulatedFleet, row: OrderRecord, entry_id: str) -> bool:
    """Whether another fleet has executed the order under this very entry id.

    Ours may be the same stream under another source.
    """
    return row.entry_id == entry_id and world.table.source_of(row.order_id) != fleet.names.source


def _is_elsewhere(world: World, fleet: SimulatedFleet, row: OrderRecord) -> bool:
    """Whether a row is that of a fleet which publishes on another results stream."""
    source = world.table.source_of(row.order_id)
    (owner,) = (each for each in world.fleets if each.names.source == source)
    return owner.names.results != fleet.names.results


def _used_again(world: World, fleet: SimulatedFleet) -> Iterator[str]:
    """I7: an order that came under the id of another one is a conflict, and no entry answers for it."""
    letters = [(letter["entry_id"], letter.get("order_id")) for letter in map(pairs, fleet.stream.letters)]
    for entry_id, sent in fleet.again.items():
        buried = letters.count((entry_id, sent.order_id))
        if not buried and entry_id not in fleet.gone_again:
            yield f"I1: the second order under {entry_id} has no dead letter"
        if buried > 1:
            yield f"I2: the second order under {entry_id} has {buried} dead letters"
        row = world.table.rows.get(sent.order_id or "")
        if row is not None and row.entry_id == entry_id:
            yield f"I7: {entry_id} owns two rows"


def _results(world: World, fleet: SimulatedFleet) -> Iterator[str]:
    """I4, I5: one result for each row that has one, on its own fleet's stream; and it says what the row says.

    Results that were taken away count: readers may have seen them. None is missing unless it was told.
    """
    source, table = fleet.names.source, world.table
    for result in fleet.ever_published:
        row = table.rows.get(result["order_id"])
        if row is None or row.status not in WITH_RESULT:
            yield f"I4: a result for {result['order_id']} without a row"
        elif _is_elsewhere(world, fleet, row):
            yield f"I4: the result of {result['order_id']} is on the stream of {source}"
        elif result != pairs(wire.result_fields(row)):
            yield f"I5: the result of {result['order_id']} is not its row"
    times = Counter(result["order_id"] for result in fleet.ever_published)
    told = {*fleet.stream.unknown, *fleet.taken_for_published}
    for row in table.of_source(source):
        given_out = times[row.order_id] - fleet.given_again[row.order_id]
        if given_out > 1:
            yield f"I4: {times[row.order_id]} results for {row.order_id}"
        if row.status in WITH_RESULT and given_out < 1 and row.entry_id not in told:
            yield f"I4: no result for {row.order_id}"


def _unknown(world: World, fleet: SimulatedFleet) -> Iterator[str]:
    """I4: nobody is asked about what the streams can tell."""
    results, marks_lost = fleet.stream.results, world.struck.keys() & {*MARKS_GONE, *WIPING}
    # Where another fleet's results came first, marks are incomplete from the beginning.
    marks_incomplete = marks_lost or world.plan.one_results_stream
    there = {result["entry_id"] for result in results if _is_ours(world, fleet, result["order_id"])}
    for entry_id in {*fleet.stream.unknown, *fleet.taken_for_published}:
        if entry_id in there:
            yield f"I4: {entry_id} is said to be unknown, and its result is there"
        elif not marks_incomplete or (not results.gone and world.plan.counts_added):
            yield f"I4: {entry_id} is said to be unknown, and nothing was lost"


def _is_ours(world: World, fleet: SimulatedFleet, order_id: str) -> bool:
    return world.table.source_of(order_id) == fleet.names.source


def _effects(world: World) -> Iterator[str]:
    """I3: the trades of a row are its filled quantity; I7: a row is the first that was committed."""
    for order_id, row in world.table.rows.items():
        if sum((trade.quantity for trade in row.trades), Decimal(0)) != row.filled_quantity:
            yield f"I3: the trades of {order_id} are not its quantity"
        if world.rows.get(order_id) is not row:
            yield f"I7: the row of {order_id} was changed by nobody"


def _deliveries(world: World, fleet: SimulatedFleet) -> Iterator[str]:
    """I8: a poison is buried after at most so many deaths, and nobody is buried for what others did."""
    # The count goes with the entry: whoever slept with it in hand while it was trimmed can't know who tried
    # since.
    asleep = (
        world.struck["stops after"] + world.struck["stops before"] if world.struck["entry trimmed"] else 0
    )
    for (source, entry_id), deaths in world.deaths.items():
        if source != fleet.names.source:
            continue
        if deaths > world.plan.max_deliveries + asleep and not world.counts_lost:
            yield f"I8: {entry_id} took {deaths} processes down"
    for letter in map(pairs, fleet.stream.letters):
        sent = fleet.accepted.get(letter["entry_id"])
        if sent is not None and not _deserved(world, fleet, letter, sent.kind):
            yield f"I8: {letter['entry_id']}, {sent.kind}, is buried as {letter['reason']}"


def _deserved(world: World, fleet: SimulatedFleet, letter: dict[str, str], kind: str) -> bool:
    entry_id, order_id = letter["entry_id"], letter.get("order_id") or ""
    owner = order_id.partition("-")[0]
    # What a poison costs its neighbours is two deliveries; who runs alone is charged for itself.
    worn_out = world.disruptions + (2 if world.deaths else 0) >= world.plan.max_deliveries
    row, again = world.table.rows.get(order_id), fleet.again.get(entry_id)
    grounds = {
        "undecodable": kind == "undecodable",
        "conflict": (again is not None and again.order_id == order_id)
        or (
            row is not None
            and (
                row.fingerprint != fleet.fingerprint(entry_id)
                or _is_elsewhere(world, fleet, row)
                or _may_be_renamed(world, fleet, row, entry_id)
            )
        ),
        "trimmed": bool(world.struck["entry trimmed"] or world.struck["entry id used again"]),
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
    if any(sent.kind == "raises" for fleet in world.fleets for sent in fleet.accepted.values()):
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
        yield (
            f"I9: settled {world.settled_after_s:.1f} s after the last fault healed,"
            f" at most {at_most_s:.1f} s"
        )
