"""A replica's own turn at letting rows go: when it is taken, how long it rests, what it says."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.fakes import FakeClock
from worker.domain.errors import Refused, RowRefused, TimedOut
from worker.domain.evidence import Fate
from worker.domain.orders import Status
from worker.domain.pruning import Candidate, ComingReplays, KeptFrom, Named, Refusal, day_of
from worker.pruning import OwnTurn, Prune, prune
from worker.pruning.own_turn import ANEW_EVERY_S, EVERY_S, IDLE_AFTER_S

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GONE = Fate(old=True)


class Servers:
    """Both servers and the turn, as a test says; each page takes a second."""

    def __init__(self, clock: FakeClock, count: int) -> None:
        self.rows = [
            Candidate(NOW - 30 * DAY + timedelta(seconds=n), f"{n + 1}-0", f"order-{n}", Status.FILLED, False)
            for n in range(count)
        ]
        self.fate = GONE
        self.kept: KeptFrom | None = KeptFrom(int(NOW.timestamp() * 1000))
        self.replays: ComingReplays | None = ComingReplays()
        self.streams = 1
        self.pages = 0
        self.refused = dict[str, Exception]()
        self.removals = list[int]()
        self.turn = True
        self.ended = 0
        self._clock = clock

    def take(self) -> bool:
        return self.turn

    def end(self) -> None:
        self.ended += 1

    def now(self) -> datetime:
        return NOW

    def alone(self) -> bool:
        return True

    def streams_lately(self) -> int:
        return self.streams

    def kept_from(self) -> KeptFrom | None:
        return self.kept

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        return dict.fromkeys(entry_ids, self.fate)

    def coming(self, kept: KeptFrom) -> ComingReplays | None:
        assert kept == self.kept
        return self.replays

    def page(self, after: Candidate | None, until: datetime, count: int) -> list[Candidate]:
        self._clock.advance(1)
        self.pages += 1
        old = [each for each in self.rows if each.recorded_at < until]
        return [each for each in old if after is None or each.recorded_at > after.recorded_at][:count]

    def remove(self, candidates: Sequence[Candidate], until: datetime) -> int:
        assert all(each.recorded_at < until for each in candidates)
        self.removals.append(len(candidates))
        for each in candidates:
            if each.order_id in self.refused:
                raise self.refused[each.order_id]
        self.rows = [each for each in self.rows if each not in candidates]
        return len(candidates)


def made(count: int, *, keep_s: float = 86_400, window_s: float = 3600) -> tuple[Servers, OwnTurn, FakeClock]:
    clock = FakeClock()
    servers = Servers(clock, count)
    walk = Prune(servers, servers, servers, window_s=window_s)
    return servers, OwnTurn(walk, servers, servers, keep_s=keep_s, clock=clock.monotonic), clock


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "TOGETHER", 2)


def test_page_is_followed_by_a_rest_as_long_as_it_took() -> None:
    servers, turn, clock = made(5)
    turn.go_on()
    clock.advance(0.9)
    turn.go_on()
    resting = servers.pages
    clock.advance(0.1)
    turn.go_on()

    assert (resting, servers.pages, len(servers.rows)) == (1, 2, 1)
    assert servers.ended == 0, "it stays the one whose turn it is"


def test_turn_ends_with_the_last_row_and_says_what_went_and_stayed() -> None:
    servers, turn, clock = made(3)
    servers.fate = Fate(marked=True)

    with capture_logs() as logs:
        turn.go_on()
        clock.advance(3)
        turn.go_on()

    assert servers.ended == 1
    assert logs == [{"event": "pruned rows", "log_level": "info", "orders": 0, "stayed": {"marked": 3}}]


def test_rows_that_stayed_are_looked_at_again_after_an_hour() -> None:
    servers, turn, clock = made(1)
    servers.fate = Fate(marked=True)
    turn.go_on()
    servers.fate = GONE
    clock.advance(EVERY_S)
    turn.go_on()
    before = len(servers.rows)
    clock.advance(ANEW_EVERY_S)
    turn.go_on()
    clock.advance(EVERY_S)
    turn.go_on()

    assert (before, servers.rows) == (1, [])


def test_nobody_prunes_unless_that_is_set_or_while_it_is_anothers_turn() -> None:
    off, turn_off, _ = made(3, keep_s=0)
    others, turn_of_another, _ = made(3)
    others.turn = False

    turn_off.go_on()
    turn_of_another.go_on()

    assert (off.pages, others.pages) == (0, 0)


def test_replica_without_orders_asks_once_an_hour() -> None:
    servers, turn, clock = made(0)
    turn.go_on(idle_s=IDLE_AFTER_S)
    clock.advance(10 * EVERY_S)
    turn.go_on(idle_s=IDLE_AFTER_S)
    asked = servers.pages
    clock.advance(ANEW_EVERY_S)
    turn.go_on(idle_s=IDLE_AFTER_S)

    assert (asked, servers.pages) == (1, 2)


@pytest.mark.parametrize("unknown", ["kept", "streams"])
def test_nothing_goes_while_nobody_can_know(unknown: str) -> None:
    servers, turn, _ = made(3)
    if unknown == "kept":
        servers.kept = None
    else:
        servers.streams = 2

    turn.go_on()

    assert (len(servers.rows), servers.pages, servers.ended) == (3, 0, 1)


OF_ITS_ENTRY, OF_ITS_ORDER = Named(entries=frozenset({"1-0"})), Named(orders=frozenset({"order-0"}))


@pytest.mark.parametrize(
    ("replays", "reason"),
    [
        (None, Refusal.LETTER_OPEN),
        (ComingReplays(open=OF_ITS_ENTRY), Refusal.LETTER_OPEN),
        (ComingReplays(open=OF_ITS_ORDER), Refusal.LETTER_OPEN),
        (ComingReplays(replayed=OF_ITS_ENTRY), Refusal.REPLAYED),
        (ComingReplays(replayed=OF_ITS_ORDER), Refusal.REPLAYED),
    ],
    ids=["too many", "its entry", "another entry of its order", "its entry, replayed", "its order, replayed"],
)
def test_row_stays_as_long_as_a_replay_of_its_order_may_come(
    replays: ComingReplays | None, reason: Refusal
) -> None:
    servers, _, _ = made(0)
    servers.replays = replays
    servers.rows = [Candidate(NOW - 30 * DAY, "1-0", "order-0", Status.FILLED, unsourced=False)]

    step = Prune(servers, servers, servers, window_s=3600).page(NOW)

    assert step.refused == {reason: 1}


def test_day_of_an_entry_is_that_of_utc_and_none_where_no_calendar_has_it() -> None:
    assert str(day_of("1700000000000-0")) == "2023-11-14"
    assert day_of("18446744073709551615-0") is None


REFERENCED = RowRefused("ForeignKeyViolation 23503")


def test_row_that_may_not_be_deleted_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "TOGETHER", 8)
    servers, turn, _ = made(7)
    servers.refused = {"order-1": REFERENCED, "order-5": Refused("RaiseException P0001")}

    with capture_logs() as logs:
        turn.go_on()

    assert [each.order_id for each in servers.rows] == ["order-1", "order-5"]
    said, told = logs
    assert told["one"] == "order-1: ForeignKeyViolation 23503"
    assert (said["orders"], said["stayed"]) == (5, {"referenced": 1, "refused": 1})


def test_page_after_one_with_refused_rows_is_smaller_and_then_grows_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prune, "TOGETHER", 64)
    servers, _, _ = made(64 + 32 + 64 + 8)
    servers.refused = {"order-0": REFERENCED}
    walk = Prune(servers, servers, servers, window_s=3600)

    steps = [walk.page(NOW) for _ in range(4)]

    assert [each.pruned for each in steps] == [63, 32, 64, 8]
    assert [each.more for each in steps] == [True, True, True, False]


def test_page_is_tried_again_with_less_when_it_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "TOGETHER", 64)
    servers, _, _ = made(64)
    servers.refused = {"order-0": TimedOut("postgresql", "too long")}
    walk = Prune(servers, servers, servers, window_s=3600)

    for _ in range(3):
        with pytest.raises(TimedOut):
            walk.page(NOW)

    assert servers.removals == [64, 32, 16]
