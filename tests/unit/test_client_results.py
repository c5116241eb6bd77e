"""How results are read: one read for all who wait, nothing lost with a reply, what is remembered."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
import redis

from tests.harness import eventually
from worker.client import (
    Added,
    AsyncResults,
    Buried,
    Order,
    Results,
    Status,
    Unreadable,
    reading,
    tail,
)  # fmt: skip
from worker.client.fake_streams import AsyncFakeStreams, FakeStreams
from worker.client.link import Command, Reply
from worker.client.testing import DEAD_LETTERS, GROUP, ORDERS, RESULTS, Answer, FakeWorker

LOST = redis.ConnectionError("reply lost")
RESULT = {
    "type": "order_result", "order_id": "strange", "entry_id": "1-1", "status": "FILLED",
    "filled_quantity": "1", "timestamp": "1",
}  # fmt: skip


class Watched:
    """Streams that note what is sent, and lose replies of commands of a name as told."""

    def __init__(self, streams: FakeStreams) -> None:
        self._streams = streams
        self.patience_s = 2.5
        self.sent: list[Command] = []
        self.losing: deque[str] = deque()

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        self.sent += commands
        replies = self._streams.call(commands)
        if self.losing and self.losing[0] in {command[0] for command in commands}:
            self.losing.popleft()
            raise LOST
        return replies


class Hasty(Watched):
    """Answer at once, as some services do, what is to wait."""

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        return super().call([_without_block(command) for command in commands])


def _without_block(command: Command) -> Command:
    place = command.index("BLOCK") if "BLOCK" in command else len(command)
    return command[:place] + command[place + 2 :]


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker(lambda _: None)


@pytest.fixture
def watched(worker: FakeWorker) -> Watched:
    return Watched(worker.streams)


def add(worker: FakeWorker, order_id: str, answer: Answer | None = None) -> Added:
    added = worker.producer().add(Order("X", "BUY", 1, price=2, order_id=order_id))
    if answer:
        worker.settle(order_id, answer)
    return added


def xadd(streams: FakeStreams, stream: str, **fields: str) -> None:
    streams.call([("XADD", stream, "*", *(part for pair in fields.items() for part in pair))])


def test_all_who_wait_share_one_read(worker: FakeWorker, watched: Watched) -> None:
    results = Results(watched)
    added = [add(worker, f"order-{i}") for i in range(20)]
    begun = Barrier(21)

    def outcome(each: Added) -> str:
        begun.wait(20)
        return results.of(each, timeout_s=20).order_id

    with ThreadPoolExecutor(20) as pool:
        found = pool.map(outcome, added)
        begun.wait(20)
        eventually(lambda: watched.sent)
        for each in added:
            worker.settle(each.order_id, Answer())

        assert list(found) == [each.order_id for each in added]

    # Each read but the last brings a result, and only one is under way at a time.
    assert [command[0] for command in watched.sent].count("XREAD") <= 21


def test_all_who_wait_with_asyncio_share_one_read(worker: FakeWorker) -> None:
    added = [add(worker, f"order-{i}") for i in range(20)]
    calls = 0

    class Counted(AsyncFakeStreams):
        """Counts reads."""

        async def call(self, commands: Sequence[Command]) -> list[Reply]:
            nonlocal calls
            calls += 1
            return await super().call(commands)

    async def all_outcomes() -> list[str]:
        results = AsyncResults(Counted(worker.streams))
        waiting = [asyncio.create_task(results.of(each, timeout_s=20)) for each in added]
        await asyncio.sleep(0)
        for each in added:
            worker.settle(each.order_id, Answer())
        return [(await each).order_id for each in waiting]

    assert asyncio.run(all_outcomes()) == [each.order_id for each in added]
    assert calls <= 2


def test_others_go_on_waiting_when_the_task_that_reads_is_cancelled(worker: FakeWorker) -> None:
    first, second = add(worker, "a"), add(worker, "b")

    async def outcome() -> Status:
        results = AsyncResults(AsyncFakeStreams(worker.streams))
        reads = asyncio.create_task(results.of(first, timeout_s=20))
        await asyncio.sleep(0)
        waits = asyncio.create_task(results.of(second, timeout_s=20))
        await asyncio.sleep(0)
        reads.cancel()
        worker.settle("b", Answer())
        return (await waits).status

    assert asyncio.run(outcome()) is Status.FILLED


@pytest.mark.parametrize("fails", [False, True], ids=["replies", "fails"])
def test_cancellation_that_the_connection_forgets_ends_the_wait(worker: FakeWorker, *, fails: bool) -> None:
    class Forgetful(AsyncFakeStreams):
        """Goes on when it is cancelled, as redis-py may with Python 3.11."""

        async def call(self, commands: Sequence[Command]) -> list[Reply]:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            if fails:
                raise LOST
            return await super().call(commands)

    async def wait() -> None:
        waits = asyncio.create_task(AsyncResults(Forgetful(worker.streams)).of(added, timeout_s=60))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait_for(waits, 5)

    added = add(worker, "a")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wait())


def test_outage_is_waited_out(worker: FakeWorker, watched: Watched) -> None:
    added = add(worker, "a", Answer())
    watched.losing += ["XREAD", "XREAD"]

    assert Results(watched).of(added, timeout_s=20).order_id == "a"


def test_outage_that_lasts_is_named(worker: FakeWorker, watched: Watched) -> None:
    added = add(worker, "a")
    watched.losing += ["XREAD"] * 100

    with pytest.raises(
        TimeoutError, match=r"order a has no result after 0\.05 s: ConnectionError: reply lost"
    ):
        Results(watched).of(added, timeout_s=0.05)


def test_result_that_is_there_is_found_without_time(worker: FakeWorker) -> None:
    added = add(worker, "a", Answer())

    assert worker.results().of(added, timeout_s=0).order_id == "a"


def test_result_is_found_that_stands_before_what_the_others_read(
    worker: FakeWorker, watched: Watched
) -> None:
    old, recent = add(worker, "old", Answer()), add(worker, "recent")
    # A result may have the very id of its entry, where both are added within a millisecond.
    recent_since = f"{int(recent.entry_id.partition('-')[0]) - 1}-0"
    results = Results(watched)

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(results.of, Added(recent.entry_id, "recent", recent_since), timeout_s=20)
        eventually(lambda: watched.sent)
        found = results.of(Added(old.entry_id, "old", "0-0"), timeout_s=20)
        worker.settle("recent", Answer())

        assert (found.order_id, waits.result().order_id) == ("old", "recent")


def test_what_nobody_asks_for_any_more_is_not_read(worker: FakeWorker, watched: Watched) -> None:
    results = Results(watched)
    results.of(add(worker, "a", Answer()), timeout_s=20)
    later = add(worker, "b", Answer())

    with pytest.raises(TimeoutError):
        results.of(Added(later.entry_id, "c", "9000000000000-0"), timeout_s=0)

    assert watched.sent[-1][-2:] == ("9000000000000-0", "9000000000000-0")


@pytest.mark.parametrize("reason", ["failed", "poison"])
def test_letter_of_an_order_is_raised_whichever_attempt_it_is_of(worker: FakeWorker, reason: str) -> None:
    first = add(worker, "a")
    again = add(worker, "a")
    worker.settle("a", Answer(buried_as=reason, error_message="it raised"))

    for added in (first, again):
        with pytest.raises(Buried, match=f"order a was buried as {reason}: it raised") as raised:
            worker.results().of(added, timeout_s=20)
        assert (raised.value.entry_id, raised.value.error) == (first.entry_id, "it raised")


def test_letter_that_names_no_order_is_known_by_its_entry(worker: FakeWorker) -> None:
    added = add(worker, "a")
    xadd(worker.streams, DEAD_LETTERS, entry_id=added.entry_id, reason="too_large", error="70000 bytes")

    with pytest.raises(Buried, match="too_large"):
        worker.results().of(added, timeout_s=20)


def test_conflict_of_another_entry_is_none_of_the_first(worker: FakeWorker) -> None:
    first = add(worker, "a")
    worker.producer().add(Order("X", "SELL", 1, price=2, order_id="a"))
    results = worker.results()

    with pytest.raises(TimeoutError):
        results.of(first, timeout_s=0)
    worker.settle("a", Answer())

    assert results.of(first, timeout_s=20).order_id == "a"


def test_result_of_another_entry_answers_once_the_worker_has_settled_this_one(worker: FakeWorker) -> None:
    add(worker, "a", Answer())
    worker.streams.added = lambda *_: None
    again, results = add(worker, "a"), worker.results()

    with pytest.raises(TimeoutError):
        results.of(again, timeout_s=0)
    worker.streams.call([("XREADGROUP", "GROUP", GROUP, "slow", "COUNT", 1, "STREAMS", ORDERS, ">")])
    with pytest.raises(TimeoutError):
        results.of(again, timeout_s=0)
    worker.streams.call([("XACK", ORDERS, GROUP, again.entry_id)])

    assert results.of(again, timeout_s=20).entry_id != again.entry_id


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits asks the worker's group soon, and reads page by page."""
    monkeypatch.setattr(tail, "FIRST_ASK_S", 0.01)
    monkeypatch.setattr(tail, "PAGE", 2)


LATER = "9000000000000-0"


@pytest.mark.usefixtures("impatient")
def test_duplicate_of_an_order_of_long_ago_has_its_result(worker: FakeWorker) -> None:
    first = add(worker, "a", Answer())
    for i in range(5):
        add(worker, f"order-{i}", Answer())
    again = add(worker, "a")

    found = worker.results().of(Added(again.entry_id, "a", LATER), timeout_s=20)

    assert (found.order_id, found.entry_id) == ("a", first.entry_id)


@pytest.mark.usefixtures("impatient")
def test_duplicate_of_an_order_of_long_ago_has_its_letter(worker: FakeWorker) -> None:
    first = add(worker, "a", Answer(buried_as="failed"))
    worker.producer().add(Order("X", "SELL", 1, price=2, order_id="a"))
    again = add(worker, "a")

    with pytest.raises(Buried, match="failed") as raised:
        worker.results().of(Added(again.entry_id, "a", LATER), timeout_s=20)

    assert raised.value.entry_id == first.entry_id


@pytest.mark.usefixtures("impatient")
def test_nothing_is_looked_for_further_back_before_the_worker_has_settled_the_entry(
    worker: FakeWorker, watched: Watched
) -> None:
    add(worker, "a", Answer())
    worker.streams.added = lambda *_: None
    again = add(worker, "a")

    with pytest.raises(TimeoutError):
        Results(watched).of(Added(again.entry_id, "a", LATER), timeout_s=0.2)

    sent = [command[0] for command in watched.sent]
    assert "XREVRANGE" not in sent
    assert 1 <= sent.count("XPENDING") <= 6


@pytest.mark.usefixtures("impatient")
def test_worker_that_is_not_there_keeps_nobody_from_waiting_and_is_named(worker: FakeWorker) -> None:
    added = add(worker, "a")
    results = Results(worker.streams, group="another")

    with pytest.raises(TimeoutError, match=r"no result after 0\.1 s: NOGROUP"):
        results.of(added, timeout_s=0.1)
    worker.settle("a", Answer())

    assert results.of(added, timeout_s=20).order_id == "a"


def test_letter_of_another_entry_is_not_told_before_the_worker_has_settled_this_one(
    worker: FakeWorker,
) -> None:
    first = add(worker, "a")
    xadd(worker.streams, DEAD_LETTERS, entry_id=first.entry_id, order_id="a", reason="failed", error="no")
    worker.streams.added = lambda *_: None
    again, results = add(worker, "a"), worker.results()
    worker.streams.call([("XREADGROUP", "GROUP", GROUP, "slow", "COUNT", 1, "STREAMS", ORDERS, ">")])

    with pytest.raises(TimeoutError):
        results.of(again, timeout_s=0)
    with pytest.raises(Buried):
        results.of(first, timeout_s=0)
    worker.settle("a", Answer())
    worker.streams.call([("XACK", ORDERS, GROUP, again.entry_id)])

    assert results.of(again, timeout_s=20).order_id == "a"


def test_letter_of_an_entry_itself_is_told_before_that_of_another(worker: FakeWorker) -> None:
    first = add(worker, "a")
    worker.streams.added = lambda *_: None
    again = add(worker, "a")
    for added, reason in ((again, "poison"), (first, "failed")):
        xadd(worker.streams, DEAD_LETTERS, entry_id=added.entry_id, order_id="a", reason=reason, error="no")

    with pytest.raises(Buried, match="poison") as raised:
        worker.results().of(again, timeout_s=0)

    assert raised.value.entry_id == again.entry_id


def test_order_that_was_replayed_has_its_result_though_its_letter_stands(worker: FakeWorker) -> None:
    added = add(worker, "a")
    xadd(worker.streams, DEAD_LETTERS, entry_id=added.entry_id, order_id="a", reason="failed", error="no")
    worker.settle("a", Answer())

    assert worker.results().of(added, timeout_s=20).status is Status.FILLED


def test_what_is_no_result_keeps_nobody_from_waiting(worker: FakeWorker) -> None:
    xadd(worker.streams, RESULTS, type="greeting")
    added = add(worker, "a", Answer())

    assert worker.results().of(added, timeout_s=20).order_id == "a"


def test_result_that_was_forgotten_is_read_again(worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "REMEMBERED", 2)
    added = [add(worker, f"order-{i}", Answer()) for i in range(5)]
    results = worker.results()

    assert [results.of(each, timeout_s=20).order_id for each in added] == [each.order_id for each in added]


@pytest.fixture
def read(watched: Watched) -> Iterator[str]:
    """The order ids that a reader is given."""
    return (result.order_id for result in Results(watched).read("readers", "one", wait_s=0.0))


@pytest.mark.parametrize("losing", [["XREADGROUP"], ["XREADGROUP"] * 3, ["XACK"], ["XACK", "XREADGROUP"]])
def test_each_result_is_given_out_once_when_replies_are_lost(
    worker: FakeWorker,
    watched: Watched,
    read: Iterator[str],
    losing: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for order_id in ("a", "b", "c"):
        add(worker, order_id, Answer())
    first = next(read)
    monkeypatch.setattr(time, "sleep", lambda _: None)

    watched.losing += losing

    assert [first, *read] == ["a", "b", "c"]
    assert not watched.losing
    assert worker.streams.call([("XINFO", "GROUPS", RESULTS)])[0][0][3] == 0


def test_result_is_not_acked_before_its_reader_has_come_back(
    worker: FakeWorker, watched: Watched, read: Iterator[str]
) -> None:
    add(worker, "a", Answer())

    next(read)
    acked_before = [command for command in watched.sent if command[0] == "XACK"]
    assert list(read) == []

    assert acked_before == []
    assert [command[0] for command in watched.sent].count("XACK") == 1


STRANGE: list[dict[str, str]] = [
    {"type": "greeting"},
    {"hello": "world"},
    {**RESULT, "status": "UNHEARD_OF"},
    {**RESULT, "filled_quantity": "many"},
    {**RESULT, "filled_quantity": "NaN"},
    {**RESULT, "price": "Infinity"},
    {**RESULT, "timestamp": "now"},
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_reader_passes_over_what_is_no_result_and_names_it(
    worker: FakeWorker, read: Iterator[str], caplog: pytest.LogCaptureFixture, strange: dict[str, str]
) -> None:
    xadd(worker.streams, RESULTS, **strange)
    add(worker, "a", Answer())

    assert list(read) == ["a"]
    assert "of order_results is no result" in caplog.text
    assert list(worker.results().read("readers", "one", wait_s=0.0)) == []


def test_reader_that_is_told_to_stop_at_what_is_no_result_stays_there(worker: FakeWorker) -> None:
    xadd(worker.streams, RESULTS, type="greeting", text="hi")
    add(worker, "a", Answer())

    def stop(error: Unreadable) -> None:
        raise error

    for _ in range(2):
        with pytest.raises(Unreadable, match="is no result") as raised:
            next(worker.results().read("readers", "one", unreadable=stop))
        assert raised.value.fields == {"type": "greeting", "text": "hi"}
    passed_over = list[Unreadable]()
    later = worker.results().read("readers", "one", unreadable=passed_over.append)

    assert next(later).order_id == "a"
    assert [each.entry_id for each in passed_over] == [raised.value.entry_id]


def test_result_comes_again_to_a_reader_whose_body_raised(worker: FakeWorker) -> None:
    add(worker, "a", Answer())
    given = []

    def handle_all() -> None:
        for result in worker.results().read("readers", "one", wait_s=0.0):
            given.append(result.order_id)
            if len(given) == 1:
                raise RuntimeError("handling failed")

    with pytest.raises(RuntimeError):
        handle_all()
    handle_all()
    handle_all()

    assert given == ["a", "a"]


def test_reader_ends_as_soon_as_it_said_it_would(worker: FakeWorker) -> None:
    began = time.monotonic()

    assert list(worker.results().read("readers", "one", wait_s=0.01)) == []

    assert time.monotonic() - began < 0.5


def test_outage_of_a_reader_is_told_once(
    worker: FakeWorker,
    watched: Watched,
    read: Iterator[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    add(worker, "a", Answer())
    watched.losing += ["XREADGROUP"] * 3

    assert list(read) == ["a"]
    assert caplog.text.count("results can't be read") == 1


def test_trimmed_result_is_told_and_passed_over(
    worker: FakeWorker, read: Iterator[str], caplog: pytest.LogCaptureFixture
) -> None:
    add(worker, "a", Answer())
    next(worker.results().read("readers", "one"))
    worker.streams._streams[RESULTS].entries.clear()  # noqa: SLF001  trimmed
    add(worker, "b", Answer())

    with caplog.at_level(logging.WARNING):
        assert list(read) == ["b"]

    assert "was trimmed before group readers had read it" in caplog.text


def test_order_ids_are_remembered_as_far_as_is_said(
    worker: FakeWorker, read: Iterator[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REMEMBERED", 2)
    for order_id in ("a", "b", "c"):
        add(worker, order_id, Answer())
    for order_id in ("c", "a"):
        worker.publish_again(order_id)

    assert list(read) == ["a", "b", "c", "a"]


def test_reader_that_may_not_read_is_told(worker: FakeWorker, read: Iterator[str]) -> None:
    add(worker, "a", Answer())
    next(read)
    worker.streams._streams[RESULTS].groups.clear()  # noqa: SLF001  destroyed

    with pytest.raises(redis.ResponseError, match="NOGROUP"):
        next(read)


def test_server_that_does_not_wait_is_not_asked_again_at_once(worker: FakeWorker) -> None:
    hasty = Hasty(worker.streams)
    added = add(worker, "a")

    assert list(Results(hasty).read("readers", "one", wait_s=0.5)) == []
    with pytest.raises(TimeoutError):
        Results(hasty).of(added, timeout_s=0.5)

    for name in ("XREADGROUP", "XREAD"):
        asked = [command[0] for command in hasty.sent].count(name)
        assert 2 <= asked <= 20
    worker.settle("a", Answer())
    assert Results(hasty).of(added, timeout_s=20).order_id == "a"
