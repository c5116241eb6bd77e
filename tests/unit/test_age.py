"""Orders out of time: judged by the older of their two dates, once, and never after they have a row."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.builders import order
from tests.fakes import Bench
from worker.consumer.age import Stamps, out_of_time
from worker.domain.deliveries import Duplicate, Settled
from worker.domain.orders import Labels, Order, Status

NOW_S = 1_700_000_000
NOW = datetime.fromtimestamp(NOW_S, UTC)


def dated(timestamp: str | None = None, *, entry_age_s: int = 0) -> Order:
    return order(entry_id=f"{(NOW_S - entry_age_s) * 1000}-0", labels=Labels(timestamp=timestamp))


@pytest.mark.parametrize("timestamp", [None, str(NOW_S), f"{NOW_S - 60}", f"{NOW_S - 59.5}", f"{NOW_S + 60}"])
def test_order_in_time_may_be_executed(timestamp: str | None) -> None:
    assert out_of_time(dated(timestamp), NOW, 60) is None


def test_order_is_too_old_by_its_timestamp() -> None:
    why = out_of_time(dated(str(NOW_S - 61)), NOW, 60)

    assert why == "order is 61 s old, at most 60 s are allowed"


@pytest.mark.parametrize("timestamp", [None, str(NOW_S), f"{NOW_S - 3}"])
def test_order_is_too_old_by_its_entry_however_young_its_timestamp(timestamp: str | None) -> None:
    why = out_of_time(dated(timestamp, entry_age_s=75), NOW, 60)

    assert why == "order is 75 s old, at most 60 s are allowed"


@pytest.mark.parametrize("timestamp", [f"{NOW_S + 61}", "32503680000"])
def test_order_dated_ahead_is_out_of_time(timestamp: str) -> None:
    why = out_of_time(dated(timestamp), NOW, 60)

    assert why is not None
    assert why.startswith("timestamp is ")
    assert why.endswith(" s ahead, at most 60 s are allowed")


@pytest.mark.parametrize(
    "timestamp",
    [
        "1_600_000_000", "-1", "+5", " 1", "1\n", "NaN", "inf", "", "\u0661", "0x1", "9" * 20, "9" * 21,
        "9" * 5000, ".5", "\0", "1e99", "1e", "yesterday", "2001-01-01", "20010101T", "00:00:00Z",
        "2001-13-01T00:00:00Z", "2001-01-01T25:00:00Z", "2001-01-01T00:00:00 UTC",
        "2001-01-01T00:00:00+99:99", "\u0662001-01-01T00:00:00Z", "Mon, 01 Jan 2001 00:00:00 GMT",
    ],
)  # fmt: skip
def test_stamp_that_cannot_be_read_says_nothing_and_the_entry_id_decides(timestamp: str) -> None:
    assert out_of_time(dated(timestamp), NOW, 60) is None
    assert (
        out_of_time(dated(timestamp, entry_age_s=75), NOW, 60)
        == "order is 75 s old, at most 60 s are allowed"
    )


AN_HOUR_AGO = NOW_S - 3600


@pytest.mark.parametrize(
    "timestamp",
    [
        f"{AN_HOUR_AGO}", f"{AN_HOUR_AGO}.0", f"{AN_HOUR_AGO}000", f"{AN_HOUR_AGO}000.25",
        f"{AN_HOUR_AGO}000000", f"{AN_HOUR_AGO}000000000", repr(float(AN_HOUR_AGO) * 1e9),
        repr(float(AN_HOUR_AGO) * 1e6), "1.6999964e9", "2023-11-14T21:13:20Z",
        "2023-11-14T21:13:20.123456789Z", "2023-11-14T21:13:20,5Z", "2023-11-14t21:13:20z",
        "2023-11-14 21:13:20+00:00", "2023-11-14T22:43:20+01:30", "2023-11-14T16:13:20-0500",
        "20231114T211320Z", "2023-W46-2T21:13:20Z", "2023-11-14T21:13:20", "2023-11-14T21:13:20.123456",
    ],
)  # fmt: skip
def test_stamp_is_read_in_every_unit_and_as_iso_8601(timestamp: str) -> None:
    assert out_of_time(dated(timestamp), NOW, 3601) is None
    assert out_of_time(dated(timestamp), NOW, 3500) in {
        "order is 3600 s old, at most 3500 s are allowed",
        "order is 3599 s old, at most 3500 s are allowed",
    }


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_stamp_ahead_is_out_of_time_in_every_unit(scale: int) -> None:
    why = out_of_time(dated(str((NOW_S + 3600) * scale)), NOW, 60)

    assert why == "timestamp is 3600 s ahead, at most 60 s are allowed"


def test_stamps_that_cannot_be_read_are_counted_and_told_where_age_is_limited() -> None:
    limited, free = Stamps(60), Stamps(0)
    with capture_logs() as logged:
        for stamp in (*["junk"] * 11, None, str(NOW_S), "2023-11-14T21:13:20Z"):
            limited.look(dated(stamp))
            free.look(dated(stamp))

    assert (limited.unreadable, free.unreadable) == (11, 0)
    assert [(each["log_level"], each["orders"]) for each in logged] == [("warning", 1), ("warning", 10)]


def test_order_too_old_gets_a_rejected_row_with_the_reason_and_is_not_executed() -> None:
    bench = Bench(max_order_age_s=60)
    now = int(bench.clock.seconds)
    bench.submit("old", timestamp=str(now - 3600))
    bench.submit("new", timestamp=str(now))

    settled = bench.handle_next()

    assert [type(outcome) for outcome in settled] == [Settled, Settled]
    assert bench.rows["old"].status is Status.REJECTED
    assert bench.rows["old"].error_message == "order is 3600 s old, at most 60 s are allowed"
    assert bench.rows["old"].quantity == Decimal("0.5")
    assert bench.rows["new"].status is Status.FILLED
    assert bench.executor.executed == ["new"]


def test_order_that_waited_in_the_stream_for_too_long_is_rejected() -> None:
    bench = Bench(max_order_age_s=60)
    bench.submit("a")
    bench.clock.advance(61)

    bench.handle_next()

    assert bench.rows["a"].status is Status.REJECTED


def test_age_is_no_reason_unless_it_is_limited() -> None:
    bench = Bench()
    bench.submit("old", timestamp="1")
    bench.submit("ahead", timestamp="32503680000")
    bench.clock.advance(10**7)

    bench.handle_next()

    assert {row.status for row in bench.rows.values()} == {Status.FILLED}


def test_committed_order_keeps_its_result_however_late_it_comes_again() -> None:
    first = Bench(max_order_age_s=60)
    first.submit("a", timestamp=str(int(first.clock.seconds)))
    first.handle_next()
    first.clock.advance(3600)
    second = Bench(first.stream, first.store.table, consumer="worker-2", max_order_age_s=60)

    (outcome,) = second.handle_next()

    assert outcome == Settled(outcome.delivery, first.rows["a"], answered=True)
    assert second.rows["a"].status is Status.FILLED


def test_late_retry_of_an_executed_order_is_a_duplicate_and_not_rejected() -> None:
    bench = Bench(max_order_age_s=60)
    now = str(int(bench.clock.seconds))
    bench.submit("a", timestamp=now)
    bench.handle_next()
    row = replace(bench.rows["a"])
    bench.clock.advance(3600)
    bench.submit("a", timestamp=now)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Duplicate)
    assert bench.rows["a"] == row


def test_unsound_order_keeps_the_reason_that_it_is_unsound() -> None:
    bench = Bench(max_order_age_s=60)
    bench.submit("a", timestamp="1", quantity="0")

    bench.handle_next()

    assert bench.rows["a"].error_message == "quantity is not greater than zero"


def test_order_rejected_for_its_age_is_never_executed_later() -> None:
    first = Bench(max_order_age_s=60)
    first.submit("a", timestamp="1")
    first.handle_next()
    first.clock.advance(31)
    second = Bench(first.stream, first.store.table, consumer="worker-2")

    (outcome,) = second.handle_next()

    assert outcome == Settled(outcome.delivery, first.rows["a"], answered=True)
    assert second.executor.executed == []
