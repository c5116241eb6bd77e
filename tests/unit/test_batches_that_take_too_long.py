"""Batches that PostgreSQL gives up for the time they take: halved until they work, and grown again slowly."""

from collections.abc import Sequence

import pytest

from tests.fakes import Bench
from worker.consumer import loop
from worker.domain.errors import TimedOut
from worker.domain.orders import OrderRecord

ASKED_TOO_OFTEN = 20


class Slow:
    """A store that gives up transactions of more than a number of rows."""

    def __init__(self, bench: Bench, most: int) -> None:
        self.most = most
        self.asked: list[int] = []
        self._record, self._drain = bench.store.record, bench.drain
        bench.store.record = self.record  # type: ignore[method-assign]

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        self.asked.append(len(records))
        if len(records) > self.most:
            if len(self.asked) > ASKED_TOO_OFTEN:
                # Else the test would never end.
                self._drain.request()
            raise TimedOut("postgresql", "QueryCanceled 57014")
        return self._record(records)


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(loop, name, 0.001)


@pytest.mark.parametrize("most", [1, 3, 40, 64])
def test_batch_that_outlasts_its_time_is_halved_until_it_works(most: int) -> None:
    bench = Bench(batch_size=64)
    slow = Slow(bench, most)
    bench.submit(*(f"o{i}" for i in range(64)))

    bench.run_until(lambda: bench.done)

    assert len(bench.rows) == len(bench.stream.results) == 64
    assert bench.tally.outages == (most < 64)
    assert slow.asked[0] == 64
    given_up = [asked for asked in slow.asked if asked > most]
    assert given_up == [64 >> n for n in range(len(given_up))]


def test_batches_grow_again_slowly() -> None:
    bench = Bench(batch_size=64)
    slow = Slow(bench, 20)
    bench.submit(*(f"o{i}" for i in range(64)))
    bench.run_until(lambda: bench.done)
    slow.most = 1000
    bench.drain.event.clear()
    slow.asked.clear()

    for batch in range(40):
        bench.submit(*(f"o{batch}-{i}" for i in range(64)))
        bench.handle_next()

    assert slow.asked[0] < 20
    assert slow.asked.index(64) > 20
    assert slow.asked[-1] == 64
