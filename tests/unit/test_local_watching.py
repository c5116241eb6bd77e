"""Watching a run to its end."""

from collections.abc import Callable

import pytest

from local import watching
from local.tally import Counts, Queue, Tally

START = Tally(submitted=2, replicas=(), queue=Queue(None, None, None), results_before=0)


class ScriptedReplica:
    """Says one thing after the other, and the last of them for ever."""

    def __init__(self, *script: tuple[Counts, Queue]) -> None:
        self._script = list(script)
        self.counts, self.queue = self._script[0]

    def refresh(self) -> None:
        self.counts, self.queue = self._script.pop(0) if len(self._script) > 1 else self._script[0]


class Clock:
    """Lets a second pass at each look."""

    def __init__(self) -> None:
        self.now = -1.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("local.watching.time", clock)
    return clock


@pytest.fixture
def shown() -> list[int]:
    return []


@pytest.fixture
def show(shown: list[int]) -> Callable[[int], None]:
    return shown.append


def test_watch_ends_when_all_is_settled_and_steady(shown: list[int], show: Callable[[int], None]) -> None:
    done = Counts(received=2, filled=2), Queue(lag=None, pending=0, results=2)
    replica = ScriptedReplica(
        (Counts(received=2, filled=1), Queue(lag=None, pending=1, results=0)),
        (Counts(received=2, filled=2), Queue(lag=None, pending=1, results=0)),
        done,
    )

    tally = watching.watch([replica], START, 0.0, show)

    assert tally.faults() == []
    assert tally.replicas == (done[0],)
    assert shown == [1, 2, 2]


def test_watch_takes_the_time_of_the_last_settlement_not_of_the_last_look(
    show: Callable[[int], None],
) -> None:
    settled = Counts(received=2, filled=2)
    replica = ScriptedReplica(
        (settled, Queue(lag=0, pending=2, results=0)),
        *[(settled, Queue(lag=0, pending=1, results=0))] * 5,
        (settled, Queue(lag=0, pending=0, results=2)),
    )

    tally = watching.watch([replica], START, 0.0, show)

    assert tally.seconds == 1.0


@pytest.mark.parametrize(
    ("pending", "patience"),
    [(0, watching.QUIET_LIMIT_S), (1, watching.PENDING_LIMIT_S)],
    ids=["nothing waits", "an entry is pending"],
)
def test_watch_gives_up_when_nothing_moves(
    clock: Clock, show: Callable[[int], None], pending: int, patience: float
) -> None:
    replica = ScriptedReplica((Counts(received=1, filled=1), Queue(lag=0, pending=pending, results=1)))

    tally = watching.watch([replica], START, 0.0, show)

    assert tally.faults()
    assert clock.now > patience
