"""What a bridge has received: numbers that all bridges give alike, batches, and their end at an overflow."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.bridge.backlog import BATCH_BYTES, BATCH_MESSAGES, OVERHEAD_BYTES, Backlog
from worker.domain.channels import Batch

ONE, TWO = b"1" * 32, b"2" * 32
PLENTY = 1_000_000_000


def taking(*messages: bytes, most_bytes: int = PLENTY) -> Backlog:
    backlog = Backlog(most_bytes)
    backlog.begin(ONE)
    for message in messages:
        assert backlog.take(message)
    return backlog


class Remembering:
    """Adds as the script does: each number of each stretch once."""

    def __init__(self) -> None:
        self.added: list[bytes] = []
        self._last: Counter[str] = Counter()

    def add(self, batch: Batch) -> None:
        last = batch.first + len(batch.messages) - 1
        before = self._last[batch.stretch]
        self.added += batch.messages[max(0, before + 1 - batch.first) :] if last > before else []
        self._last[batch.stretch] = max(last, before)


class World:
    """Three bridges with room for four messages, which hear, are cut off or killed, and add at any pace."""

    def __init__(self) -> None:
        self.target = Remembering()
        self.taken: dict[bytes, set[int]] = {}
        self._bridges = [self._fresh() for _ in range(3)]
        self._hearing: set[int] = set()
        self._milestones = 0

    def publish(self, _who: int) -> None:
        message = b"%04d" % len(self.taken)
        self.taken[message] = {each for each in self._hearing if self._bridges[each].take(message)}

    def join(self, who: int) -> None:
        self._hearing.add(who)
        self._milestones += 1
        for each in self._hearing:
            self._bridges[each].begin(b"%032x" % self._milestones)

    def cut(self, who: int) -> None:
        self._hearing.discard(who)
        self._bridges[who].end()

    def kill(self, who: int) -> None:
        self._hearing.discard(who)
        self._bridges[who] = self._fresh()
        for holders in self.taken.values():
            holders.discard(who)

    def add(self, who: int, times: int = 1) -> bool:
        batch = self._bridges[who].next_batch(0)
        if batch is None:
            return False
        for _ in range(times):
            self.target.add(batch)
        self._bridges[who].done(batch)
        return True

    def add_though_the_answer_is_lost(self, who: int) -> None:
        self.add(who, times=2)

    def add_the_rest(self) -> None:
        for who in range(3):
            while self.add(who):
                pass

    @staticmethod
    def _fresh() -> Backlog:
        return Backlog(4 * (4 + OVERHEAD_BYTES))


STEPS = st.tuples(
    st.sampled_from(
        [World.publish, World.publish, World.join, World.cut, World.kill, World.add,
         World.add_though_the_answer_is_lost]
    ),
    st.integers(0, 2),
)  # fmt: skip


@given(st.lists(STEPS, max_size=80))
@settings(max_examples=500)
def test_each_message_is_added_exactly_once_by_any_bridges_that_come_and_go(steps: list[Any]) -> None:
    world = World()

    for step, who in steps:
        step(world, who)
    world.add_the_rest()

    added = Counter(world.target.added)
    assert max(added.values(), default=1) == 1
    assert {message for message, holders in world.taken.items() if holders} <= added.keys()


def test_batch_holds_messages_of_one_stretch_in_order() -> None:
    backlog = taking(b"a", b"b")
    backlog.begin(TWO)
    backlog.take(b"c")

    found = [backlog.next_batch(0), backlog.next_batch(0), backlog.next_batch(0)]

    assert found == [Batch(ONE.decode(), 1, [b"a", b"b"]), Batch(TWO.decode(), 1, [b"c"]), None]


def test_batches_are_bounded_and_go_on_where_the_last_one_ended() -> None:
    backlog = taking(*[b"x"] * (BATCH_MESSAGES + 1))

    first, second = backlog.next_batch(0), backlog.next_batch(0)

    assert first is not None
    assert second is not None
    assert (first.first, len(first.messages)) == (1, BATCH_MESSAGES)
    assert (second.first, len(second.messages)) == (BATCH_MESSAGES + 1, 1)


def test_batch_holds_messages_behind_one_fence() -> None:
    backlog = Backlog(PLENTY)
    for fence, message in (("here:1", b"a"), ("there:2", b"b")):
        backlog.begin(ONE, fence)
        backlog.take(message)

    found = [backlog.next_batch(0), backlog.next_batch(0)]

    assert found == [Batch(ONE.decode(), 1, [b"a"], "here:1"), Batch(ONE.decode(), 1, [b"b"], "there:2")]


def test_large_message_is_a_batch_of_its_own() -> None:
    large = bytes(2 * BATCH_BYTES)
    backlog = taking(b"a", large, b"b")

    found = [backlog.next_batch(0) for _ in range(3)]

    assert [each and each.messages for each in found] == [[b"a"], [large], [b"b"]]


def test_nothing_is_numbered_before_the_first_milestone_nor_after_the_end() -> None:
    backlog = Backlog(PLENTY)
    early = backlog.take(b"early")
    backlog.begin(ONE)
    backlog.end()

    late = backlog.take(b"late")

    assert (early, late, len(backlog)) == (False, False, 0)


def test_nothing_is_numbered_after_an_overflow_until_the_next_milestone() -> None:
    backlog = taking(b"a", most_bytes=3 * OVERHEAD_BYTES)

    overflowed = backlog.take(b"too much" * 1000)
    after = backlog.take(b"b")
    backlog.begin(TWO)
    anew = backlog.take(b"c")

    assert (overflowed, after, anew, len(backlog)) == (False, False, True, 2)


def test_batch_at_hand_takes_its_room_until_it_is_done() -> None:
    backlog = taking(b"a", b"b", most_bytes=3 * OVERHEAD_BYTES)
    batch = backlog.next_batch(0)
    assert batch is not None

    before = (len(backlog), backlog.has_room)
    backlog.done(batch)

    assert (before, (len(backlog), backlog.has_room)) == ((2, False), (0, True))


def test_junk_is_no_milestone() -> None:
    backlog = taking(b"a")

    begun = [backlog.begin(junk) for junk in (b"", b"1" * 31, b"1" * 33, b"g" * 32, b"\xff" * 32)]
    backlog.take(b"b")

    assert begun == [False] * 5
    assert backlog.next_batch(0) == Batch(ONE.decode(), 1, [b"a", b"b"])
