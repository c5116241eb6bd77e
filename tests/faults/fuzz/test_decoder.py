"""Twenty thousand entries through the decoder, each compared with a second reading of the contract."""

import gc
import statistics
import time
import tracemalloc
from collections import Counter

from msgspec.structs import asdict

from tests.builders import decoder, delivery
from tests.faults.fuzz.entries import Entry, entry
from tests.faults.fuzz.reference import IN_ORDER_ID, Expected, expected
from tests.faults.fuzz.respelling import TELLING, content_of, said_again
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from worker.domain.deliveries import size_of
from worker.domain.orders import Order, Undecodable, UnsoundOrder
from worker.wire.careful import Decoded

ENTRIES = 20_000
RESPELLED = 10_000
WEIGHED = 2_000
TIMED = 5_000

# Against the median per byte, and then what Python's own parser takes longest for: tiny objects side by side.
MOST_TIMES = 100
# A list takes 64 bytes of memory for its two of text, and a key its slot in a dict besides.
MOST_BYTES_PER_BYTE = 60
FIXED_BYTES = 50_000
FIXED_LENGTH = 1_000


def generated(number: int) -> Entry:
    return entry(drawn("entry", number), number)


def told(found: Decoded) -> Expected:
    """What a decoded entry says, in the words of the second reading."""
    if isinstance(found, Undecodable):
        return Expected(found.reason)
    side = None if found.side is None else found.side.value
    return Expected(
        None, found.order_id, found.symbol, side, found.quantity, found.price, found.stop_loss_pct,
        asdict(found.labels), isinstance(found, Order), traceparent=found.traceparent,
    )  # fmt: skip


def test_every_entry_is_read_as_the_contract_says_the_fast_way_and_the_careful_way() -> None:
    seen = Counter[str]()
    for number in numbers(ENTRIES):
        fields = generated(number)
        with case(number, fields):
            found = decoder().decode(delivery("5-1", fields))

            assert type(found) in {Order, UnsoundOrder, Undecodable}
            assert told(found) == expected(fields, "5-1")._replace(dropped=False)
            assert decoder().careful.read(delivery("5-1", fields)) == found
            _assert_storable(found)
            seen[found.reason if isinstance(found, Undecodable) else type(found).__name__] += 1
            seen["fast"] += decoder().flat.read(delivery("5-1", fields)) is not None
            seen["traced"] += getattr(found, "traceparent", None) is not None

    if len(numbers(ENTRIES)) > 1:
        kinds = {"Order", "UnsoundOrder", "undecodable", "ambiguous", "too_large", "fast", "traced"}
        assert set(seen) == kinds, seen
        assert min(seen.values()) > ENTRIES // 100, seen
    record("fuzz", "decoder", entries=len(numbers(ENTRIES)), seed=SEED, **seen)


def _assert_storable(found: Decoded) -> None:
    """The identity is within its charset, every text is plain text, and every amount is finite."""
    if found.order_id is not None:
        assert 1 <= len(found.order_id) <= 128
        assert set(found.order_id) <= IN_ORDER_ID
    if isinstance(found, Undecodable):
        assert found.error.isprintable()
        return
    texts = [
        found.symbol,
        found.replay_of,
        found.traceparent,
        *asdict(found.labels).values(),
    ]
    assert {type(text) for text in texts} <= {str, type(None)}
    assert len(found.fingerprint) == 33
    for value in (found.quantity, found.price, found.stop_loss_pct):
        assert value is None or value.is_finite()


def test_order_in_other_words_has_the_same_fingerprint_and_with_another_content_has_not() -> None:
    respelled = 0
    for number in numbers(RESPELLED):
        fields = generated(number)
        content = content_of(expected(fields, "5-1"))
        if content is None:
            continue
        chance = drawn("respelled", number)
        again = said_again(chance, content)
        name = chance.choice(("symbol", "side", "quantity", "price", *TELLING))
        other = {**content, name: "SELL" if content.get(name) == "BUY" else "BUY"}
        if name in {"quantity", "price"}:
            other[name] = content.get(name, "1").partition(".")[0][1:] + "7"
        with case(number, (fields, again, other)):
            first, same, changed = (
                _order(each) for each in (fields, again, tuple(s.encode() for p in other.items() for s in p))
            )

            assert same.fingerprint == first.fingerprint
            assert (same.quantity, same.price) == (first.quantity, first.price)
            if other.get(name) != content.get(name):
                assert changed.fingerprint != first.fingerprint
        respelled += 1

    record("fuzz", "respelled orders", orders=respelled, seed=SEED)


def _order(fields: Entry) -> Order:
    found = decoder().decode(delivery("5-1", fields))
    assert isinstance(found, Order)
    return found


def test_no_entry_takes_much_longer_for_its_length_than_others() -> None:
    reader = decoder()
    gc.collect()
    gc.disable()
    try:
        entries = [generated(number) for number in numbers(TIMED)]
        times = [_nanoseconds_per_byte(reader.decode, fields, tries=2) for fields in entries]
        median = statistics.median(times)
        slowest = 0.0
        for number, fields, taken in zip(numbers(TIMED), entries, times, strict=True):
            if taken > MOST_TIMES * median:
                # Another process may have had the core: only what stays slow is.
                taken = _nanoseconds_per_byte(reader.decode, fields, tries=20)  # noqa: PLW2901
            slowest = max(slowest, taken)
            with case(number, fields):
                assert taken <= MOST_TIMES * median
    finally:
        gc.enable()
    record(
        "fuzz",
        "decoding time",
        entries=len(times),
        slowest_against_median=round(slowest / median, 1),
        seed=SEED,
    )


def _nanoseconds_per_byte(decode: object, fields: Entry, tries: int) -> float:
    assert callable(decode)
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter_ns()
        decode(delivery("5-1", fields))
        best = min(best, time.perf_counter_ns() - began)
    return best / (size_of(fields) + FIXED_LENGTH)


def test_no_entry_takes_much_memory_for_its_length_and_none_is_kept() -> None:
    reader = decoder()
    entries = [generated(number) for number in numbers(WEIGHED)]
    entries += [
        (b"payload", b"[" + unit * (65_000 // len(unit)) + b"0]") for unit in (b"[],", b"{},", b"0,", b'"",')
    ]
    # The first layouts are remembered, as many as there may be.
    for fields in entries:
        reader.decode(delivery("5-1", fields))
    most = 0.0
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number, fields in enumerate(entries):
            tracemalloc.reset_peak()
            start, _ = tracemalloc.get_traced_memory()
            reader.decode(delivery("5-1", fields))
            _, peak = tracemalloc.get_traced_memory()
            most = max(most, (peak - start) / (size_of(fields) + FIXED_LENGTH))
            with case(number, fields):
                assert peak - start <= FIXED_BYTES + MOST_BYTES_PER_BYTE * size_of(fields)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < FIXED_BYTES
    record("fuzz", "decoding memory", entries=len(entries), most_bytes_per_byte=round(most, 1), seed=SEED)
