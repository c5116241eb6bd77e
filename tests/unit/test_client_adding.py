"""How a producer adds orders: repeated safely, as durably as asked, while there is room."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, Tracer

from worker.client import (
    Added,
    AsyncProducer,
    AsyncResults,
    Backlogged,
    Order,
    Producer,
    Results,
    Unanswered,
    Unconfirmed,
    Unsupported,
    backlog,
    new_order_id,
)  # fmt: skip
from worker.client.adding import Adding
from worker.client.backlog import Backlog
from worker.client.fake_streams import AsyncFakeStreams, FakeStreams
from worker.client.link import Ask, Command, Reply, Wait, run
from worker.client.testing import Answer, FakeWorker

ORDER = Order("X", "BUY", 1, price=2)
LOST = redis.ConnectionError("reply lost")


def another() -> Order:
    return replace(ORDER, order_id=new_order_id())


class Flaky:
    """Streams whose replies are lost, or never asked for, as told; what was sent is noted."""

    patience_s = 2.5

    def __init__(
        self, *faults: BaseException | None, streams: FakeStreams | None = None, arrives: bool = True
    ) -> None:
        self.streams = streams or FakeStreams()
        self.faults = deque(faults)
        self.arrives = arrives
        self.sent: list[Command] = []
        self.answers: dict[str, Callable[[], Reply]] = {}

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        self.sent += commands
        fault = self.faults.popleft() if self.faults else None
        if fault is None or self.arrives:
            ours = [self._reply(command) for command in commands]
            if fault is None:
                return ours
        raise fault

    def _reply(self, command: Command) -> Reply:
        answer = self.answers.get(str(command[0]))
        return answer() if answer else self.streams.call([command])[0]

    def added(self) -> list[tuple[str | int, ...]]:
        return [command[command.index("*") :] for command in self.sent if command[0] == "XADD"]

    def length(self) -> int:
        return int(self.streams.call([("XLEN", "orders")])[0])


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that take no time, and are noted."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("arrives", [True, False], ids=["reply lost", "not sent"])
def test_order_goes_out_again_under_the_same_id_with_the_same_content(
    *, arrives: bool, waits: list[float]
) -> None:
    flaky = Flaky(LOST, redis.TimeoutError("silence"), arrives=arrives)

    added = Producer(flaky).add(ORDER)

    first, second, *more = flaky.added()
    assert first == second == more[-1]
    assert ("order_id", added.order_id) == first[-2:]
    assert len(waits) == 2
    assert 0 < waits[0] < waits[1] * 2


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (redis.exceptions.InvalidResponse("garbage"), Unanswered)],
    ids=repr,
)
def test_order_goes_out_again_under_its_id_whatever_ended_the_call_before(
    fault: BaseException, raised: type[BaseException]
) -> None:
    order = Order("X", "BUY", 1, price=2)
    flaky = Flaky(fault)

    with pytest.raises(raised):
        Producer(flaky).add(order)
    added = Producer(flaky).add(order)

    first, second = flaky.added()
    assert first == second
    assert second[-2:] == ("order_id", added.order_id)


def test_order_whose_adding_was_cancelled_goes_out_again_under_its_id() -> None:
    order, streams = Order("X", "BUY", 1, price=2), FakeStreams()

    class Slow(AsyncFakeStreams):
        """Never replies."""

        async def call(self, commands: Sequence[Command]) -> list[Reply]:
            await super().call(commands)
            return await asyncio.sleep(60, [])

    async def patience_is_short() -> None:
        async with asyncio.timeout(0.01):
            await AsyncProducer(Slow(streams)).add(order)

    with pytest.raises(TimeoutError):
        asyncio.run(patience_is_short())
    Producer(streams).add(order)

    (found,) = streams.call([("XREAD", "COUNT", 9, "STREAMS", "orders", "0")])
    (_, entries) = found[0]
    assert [fields for _, fields in entries] == [entries[0][1]] * 2


def test_attempts_are_bounded_and_the_error_has_the_order_to_add_again() -> None:
    flaky = Flaky(*[LOST] * 4)

    with pytest.raises(Unanswered, match="may have been added or not") as raised:
        Producer(flaky).add(ORDER)

    assert len(flaky.added()) == 4
    assert raised.value.order == ORDER
    assert ORDER.order_id in str(raised.value)


def test_order_is_not_repeated_where_that_is_of_no_use() -> None:
    flaky = Flaky(redis.AuthenticationError("WRONGPASS"), arrives=False)

    with pytest.raises(redis.AuthenticationError):
        Producer(flaky).add(ORDER)

    assert len(flaky.added()) == 1


def test_order_whose_answer_nobody_can_read_may_have_been_added() -> None:
    flaky = Flaky(redis.exceptions.InvalidResponse("?"))

    with pytest.raises(Unanswered, match=r"in 1 attempts.*InvalidResponse"):
        Producer(flaky).add(ORDER)

    assert len(flaky.added()) == 1


def test_order_that_a_server_refuses_to_store_is_not_repeated() -> None:
    flaky = Flaky()
    flaky.answers["XADD"] = lambda: redis.exceptions.OutOfMemoryError("OOM")

    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(flaky).add(ORDER)

    assert len(flaky.added()) == 1


@pytest.mark.parametrize(
    "refusal",
    [redis.exceptions.OutOfMemoryError("OOM"), redis.exceptions.NoPermissionError("NOPERM")],
    ids=repr,
)
def test_order_that_is_refused_after_an_attempt_without_an_answer_may_have_been_added(
    refusal: redis.ResponseError,
) -> None:
    flaky = Flaky(LOST)
    said: deque[object] = deque([b"5-1", refusal])
    flaky.answers["XADD"] = said.popleft

    with pytest.raises(Unanswered, match=r"in 2 attempts.*add it again") as raised:
        Producer(flaky).add(ORDER)

    assert raised.value.__cause__ is refusal


def test_order_that_cannot_be_repeated_after_an_attempt_without_an_answer_may_have_been_added() -> None:
    with pytest.raises(Unanswered):
        Producer(Flaky(LOST, redis.AuthenticationError("WRONGPASS"))).add(ORDER)


def test_order_that_was_refused_each_time_was_not_added() -> None:
    flaky = Flaky()
    said: deque[object] = deque(
        [redis.exceptions.ReadOnlyError("read only"), redis.exceptions.OutOfMemoryError("OOM")]
    )
    flaky.answers["XADD"] = said.popleft

    with pytest.raises(redis.exceptions.OutOfMemoryError):
        Producer(flaky).add(ORDER)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        redis.exceptions.MovedError("3300 127.0.0.1:7001"),
        redis.exceptions.ClusterDownError("Hash slot not served"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_order_is_repeated_where_the_server_takes_none_now(error: redis.ResponseError) -> None:
    flaky = Flaky()
    said: deque[object] = deque([error, b"5-1"])
    flaky.answers["XADD"] = said.popleft

    assert Producer(flaky).add(ORDER).entry_id == "5-1"


def test_result_is_looked_for_from_before_the_first_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    order = replace(ORDER, order_id="given")
    times = iter([0.0, 30.0])
    monkeypatch.setattr("worker.client.adding.time.monotonic", lambda: next(times))
    flaky = Flaky(LOST)
    flaky.answers["XADD"] = lambda: b"1700000035000-0"

    assert Producer(flaky).add(order) == Added("1700000035000-0", "given", "1700000000000-0")


@pytest.mark.parametrize(
    ("how", "command", "reply"),
    [
        ({"replicas": 2}, ("WAIT", 2, 2000), 2),
        ({"fsynced": True}, ("WAITAOF", 1, 0, 2000), [1, 0]),
        ({"fsynced": True, "replicas": 1, "confirmed_within_s": 0.2}, ("WAITAOF", 1, 1, 200), [1, 1]),
    ],
)
def test_order_is_added_when_it_is_confirmed(how: Any, command: Command, reply: Reply) -> None:
    flaky = Flaky()
    flaky.answers[str(command[0])] = lambda: reply

    Producer(flaky, **how).add(ORDER)

    assert flaky.sent[-1] == command
    assert flaky.sent[-2][0] == "XADD"


@pytest.mark.parametrize(
    ("how", "name", "reply", "said"),
    [
        ({"replicas": 2}, "WAIT", 1, "1 of 2 replicas confirmed it within 2 s"),
        ({"fsynced": True, "replicas": 1}, "WAITAOF", [0, 1], "the primary has not fsynced it"),
        ({"fsynced": True, "replicas": 1}, "WAITAOF", [1, 0], "0 of 1 replicas"),
    ],
)
def test_order_that_is_not_confirmed_in_time_is_named_since_it_may_be_executed(
    how: Any, name: str, reply: Reply, said: str
) -> None:
    flaky = Flaky()
    flaky.answers[name] = lambda: reply

    with pytest.raises(Unconfirmed, match=said) as raised:
        Producer(flaky, **how).add(ORDER)

    assert flaky.length() == 1
    assert raised.value.added.order_id in str(raised.value)
    assert raised.value.order.order_id == raised.value.added.order_id


def test_nothing_is_sent_where_the_server_cannot_confirm_what_is_asked() -> None:
    flaky = Flaky()
    flaky.answers["WAITAOF"] = lambda: redis.ResponseError("unknown command `WAITAOF`")

    with pytest.raises(Unsupported, match="was not sent"):
        Producer(flaky, fsynced=True).add(ORDER)

    assert flaky.length() == 0


def test_confirmation_that_outlasts_the_connection_is_refused() -> None:
    with pytest.raises(ValueError, match="socket_timeout"):
        Producer(redis.Redis(socket_timeout=1), replicas=1, confirmed_within_s=0.6)


@pytest.mark.parametrize("how", [{"attempts": 0}, {"replicas": -1}], ids=str)
def test_producer_that_could_add_nothing_is_refused(how: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(how))} "):
        Producer(Flaky(), **how)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Producer(redis.asyncio.Redis()),  # type: ignore[arg-type]
        lambda: AsyncProducer(redis.Redis()),  # type: ignore[arg-type]
        lambda: Results(redis.RedisCluster.__new__(redis.RedisCluster)),  # type: ignore[arg-type]
        lambda: AsyncResults(redis.asyncio.RedisCluster(host="h")),  # type: ignore[arg-type]
    ],
)
def test_client_of_another_kind_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"for a cluster make it by connect\(url\)"):
        make()


def test_another_field_names_the_order_where_a_fleet_says_so() -> None:
    flaky = Flaky()

    added = Producer(flaky, order_id_field="ref").add(ORDER)

    (sent,) = flaky.added()
    assert sent[-2:] == ("ref", added.order_id)
    assert "order_id" not in sent


def test_field_that_names_the_order_and_says_another_is_refused_before_anything_is_sent() -> None:
    flaky = Flaky()
    producer = Producer(flaky, order_id_field="client_id")

    with pytest.raises(ValueError, match="client_id names the order, and is 'b' where order_id is 'a'"):
        producer.add(replace(ORDER, order_id="a", client_id="b"))
    assert flaky.added() == []

    producer.add(replace(ORDER, order_id="a", client_id="a"))
    assert flaky.added()[0][-2:] == ("client_id", "a")


@pytest.fixture
def tracer() -> Tracer:
    return TracerProvider(shutdown_on_exit=False).get_tracer("test")


def traceparent_of(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_entry_carries_the_traceparent_of_the_span_that_is_active(tracer: Tracer) -> None:
    flaky = Flaky()

    with tracer.start_as_current_span("send") as span:
        Producer(flaky).add(another())
    Producer(flaky).add(another())

    first, second = flaky.added()
    assert first[-2:] == ("traceparent", traceparent_of(span))
    assert "traceparent" not in second


def test_traceparent_of_the_order_goes_before_that_of_the_span(tracer: Tracer) -> None:
    flaky = Flaky()
    given = f"00-{'a' * 32}-{'b' * 16}-00"

    with tracer.start_as_current_span("send"):
        Producer(flaky).add(replace(ORDER, traceparent=given))

    (sent,) = flaky.added()
    assert sent.count("traceparent") == 1
    assert sent[sent.index("traceparent") + 1] == given


def test_each_attempt_sends_the_traceparent_of_the_span_that_was_active_at_first(tracer: Tracer) -> None:
    adding = Adding("orders").steps(ORDER)

    with tracer.start_as_current_span("send") as span:
        first = next(adding)
    with tracer.start_as_current_span("later"):
        waits = adding.throw(LOST)
        again = adding.send([])

    assert isinstance(first, Ask)
    assert isinstance(waits, Wait)
    assert first == again
    assert traceparent_of(span) in first.commands[0]


def test_asyncio_task_sends_the_traceparent_of_its_own_span(tracer: Tracer) -> None:
    worker = FakeWorker()

    async def add() -> str:
        with tracer.start_as_current_span("send") as span:
            await worker.async_producer().add(another())
        return traceparent_of(span)

    async def both() -> list[str]:
        return list(await asyncio.gather(add(), add()))

    assert sorted(asyncio.run(both())) == sorted(str(each.traceparent) for each in worker.orders)


def test_program_without_opentelemetry_sends_no_traceparent(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = Flaky()

    with tracer.start_as_current_span("send"):
        for loaded in ({}, {"opentelemetry.trace": object()}):
            monkeypatch.setattr("sys.modules", loaded)
            Producer(flaky).add(another())
            monkeypatch.undo()

    assert not any("traceparent" in command for command in flaky.added())


def test_fake_worker_takes_the_field_for_the_order_id_as_a_fleet_does() -> None:
    worker = FakeWorker(order_id_field="client_id")

    added = worker.producer().add(replace(ORDER, order_id="a"))

    assert worker.results().of(added, timeout_s=1).order_id == "a"
    assert (worker.orders[0].order_id, worker.orders[0].client_id) == ("a", "a")


def waiting_worker(*order_ids: str) -> FakeWorker:
    worker = FakeWorker(lambda _: None)
    for order_id in order_ids:
        worker.producer().add(replace(ORDER, order_id=order_id))
    return worker


def test_order_is_not_sent_while_too_many_wait() -> None:
    worker = waiting_worker("a")
    producer = worker.producer(most_waiting=2)
    producer.add(another())

    with pytest.raises(Backlogged, match="was not sent: 2 orders are waiting, at most 2 may") as raised:
        producer.add(ORDER)

    assert (len(worker.orders), raised.value.waiting) == (2, 2)


def test_order_is_sent_when_there_is_room_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = waiting_worker("a")
    monkeypatch.setattr(backlog, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: worker.settle("a", Answer()))

    worker.producer(most_waiting=1, wait_s=60).add(ORDER)

    assert len(worker.orders) == 2


def test_settled_orders_that_the_stream_still_holds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = FakeWorker()
    monkeypatch.setattr(backlog, "LOOK_EVERY_S", 0.0)
    producer = worker.producer(most_waiting=1)

    for _ in range(3):
        producer.add(another())

    assert len(worker.orders) == 3


def test_redis_is_asked_about_the_backlog_four_times_a_second_at_most() -> None:
    flaky, now = Flaky(streams=waiting_worker().streams), [100.0]
    counted = Backlog("orders", "execution", 1000, clock=lambda: now[0])

    for _ in range(100):
        assert run(counted.room(0), flaky)
        now[0] += 0.01

    assert len(flaky.sent) == 4
    assert counted.waiting == 25


def test_backlog_is_counted_where_the_server_knows_no_lag() -> None:
    worker = waiting_worker("a", "b")
    flaky = Flaky(streams=worker.streams)
    group = [b"name", b"execution", b"pending", 1, b"last-delivered-id", b"1-1", b"lag", None]
    flaky.answers |= {"XINFO": lambda: [group], "XRANGE": lambda: [b"entry"] * 3}
    counted = Backlog("orders", "execution", 4)

    assert not run(counted.room(0), flaky)

    assert counted.waiting == 4
    assert flaky.sent[-1] == ("XRANGE", "orders", "(1-1", "+", "COUNT", 5)


def test_backlog_that_could_not_be_counted_is_looked_at_again() -> None:
    flaky = Flaky(LOST, streams=waiting_worker("a", "b").streams)
    counted = Backlog("orders", "execution", 2)

    with pytest.raises(redis.ConnectionError):
        run(counted.room(0), flaky)

    assert not run(counted.room(0), flaky)


def test_everything_waits_where_the_worker_has_never_run() -> None:
    flaky = Flaky()
    producer = Producer(flaky, most_waiting=1)
    producer.add(another())

    assert run(Backlog("orders", "execution", 5).room(0), flaky)
    with pytest.raises(Backlogged):
        producer.add(another())


def test_producer_with_asyncio_repeats_the_same_way() -> None:
    streams = FakeStreams()

    class Once(AsyncFakeStreams):
        """Loses the first reply."""

        lost = False

        async def call(self, commands: Sequence[Command]) -> list[Reply]:
            replies = await super().call(commands)
            if not self.lost and not isinstance(replies[0], Exception):
                self.lost = True
                raise LOST
            return replies

    order = replace(ORDER, order_id=new_order_id())

    added = asyncio.run(AsyncProducer(Once(streams)).add(order))

    assert added.order_id == order.order_id
    assert streams.call([("XLEN", "orders")]) == [2]
