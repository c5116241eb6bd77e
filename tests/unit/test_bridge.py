"""The bridge on a channel in memory: what it keeps, what it gives up, and what it says."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from tests.harness import eventually
from worker.bridge import Backlog, Bridge, hearing
from worker.bridge.backlog import BATCH_MESSAGES, OVERHEAD_BYTES
from worker.domain.channels import Batch, Fence, Heard
from worker.domain.errors import Outage, Stopped
from worker.stream.channel import Subscription

DOWN = Outage("redis", "down")


class ChannelInMemory:
    """A channel that one bridge hears, and what it added. What is put into `says` is heard, or raised."""

    def __init__(self, *, bridges: int = 1) -> None:
        self.says: deque[bytes | Heard | Exception] = deque()
        self.early: list[bytes | Heard] = []
        # What comes once it is unsubscribed from.
        self.last: list[bytes] = []
        self.added: list[bytes] = []
        self.cut_while_joining: deque[list[Heard] | Exception] = deque()
        self.refuses = False
        self.asked = 0
        self.heard_at = 0.0
        self.server = "here"
        self.fenced = Fence("here:1", 0)
        self.moved_to: Fence | None = None
        self._bridges = bridges
        self._milestones: list[str] = []

    @contextmanager
    def subscribed(self) -> Iterator["ChannelInMemory"]:
        yield self

    def is_old(self) -> bool:
        return False

    def fence(self, server: str) -> Fence:
        assert server == self.server
        if self.moved_to is not None:
            self.fenced, self.moved_to = self.moved_to, None
        elif not self.fenced.name.startswith(server):
            self.fenced = Fence(f"{server}:2", 0.1)
        return self.fenced

    def set_milestone(self, token: str) -> int:
        self._milestones.append(token)
        return self._bridges

    def read(self, wait_s: float) -> Sequence[Heard]:
        if self._milestones and self.cut_while_joining:
            first = self.cut_while_joining.popleft()
            if isinstance(first, Exception):
                self._milestones = []
                raise first
            return first
        if self._milestones:
            found = [each if isinstance(each, Heard) else Heard(False, each) for each in self.early]
            self.early = []
            found += [Heard(True, token.encode()) for token in self._milestones]
            self._milestones = []
            return found
        if not self.says:
            threading.Event().wait(min(wait_s, 0.01))
            return []
        said = self.says.popleft()
        if isinstance(said, Exception):
            raise said
        return [said if isinstance(said, Heard) else Heard(False, said)]

    def finish(self) -> Sequence[Heard]:
        found = [Heard(False, said) for said in (*self.says, *self.last) if isinstance(said, bytes)]
        self.says.clear()
        self.last.clear()
        return found

    def add(self, batch: Batch) -> int | None:
        self.asked += 1
        if self.refuses:
            raise DOWN
        if batch.fence != (self.moved_to or self.fenced).name:
            return None
        self.added += batch.messages
        return len(batch.messages)


@contextmanager
def running(
    channel: ChannelInMemory, *, most_bytes: int = 1_000_000, drain_s: float = 10
) -> Iterator[tuple[Bridge, list[BaseException]]]:
    bridge = Bridge(channel, Backlog(most_bytes), drain_s=drain_s)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            bridge.run()
        except Stopped as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield bridge, ended
    finally:
        bridge.leave()
        thread.join(timeout=20)
        assert not thread.is_alive()
        account = bridge.account
        accounted = account.added + account.added_by_others + account.left_to_others + account.lost
        assert account.received == accounted


def events(logs: list[Any], name: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == name]


def test_what_is_heard_is_added_in_order() -> None:
    channel = ChannelInMemory()
    messages = [b"%d" % n for n in range(2000)]
    channel.says.extend(messages)

    with running(channel) as (bridge, _):
        eventually(lambda: channel.added == messages)

    assert (bridge.account.received, bridge.account.added, bridge.account.lost) == (2000, 2000, 0)


def test_what_is_heard_while_nothing_can_be_added_is_kept() -> None:
    channel = ChannelInMemory()
    channel.refuses = True
    channel.says.extend([b"a", b"b", DOWN, b"c"])

    with running(channel):
        eventually(lambda: not channel.says and channel.asked > 2)
        channel.refuses = False
        eventually(lambda: channel.added == [b"a", b"b", b"c"])


def test_what_has_no_room_is_lost_and_said_and_what_comes_after_it_is_not() -> None:
    channel = ChannelInMemory()
    channel.refuses = True
    large = b"\x1b[2J\xff" + bytes(5000)
    with capture_logs() as logs, running(channel, most_bytes=2 * OVERHEAD_BYTES + 2) as (bridge, _):
        channel.says.extend([b"a", b"b", large])
        eventually(lambda: bridge.account.lost == 1)
        channel.refuses = False
        eventually(lambda: channel.added == [b"a", b"b"])
        eventually(lambda: events(logs, "there is room again"))
        channel.says.append(b"c")
        eventually(lambda: channel.added == [b"a", b"b", b"c"])

    (lost,) = events(logs, "message lost")
    assert (lost["log_level"], lost["size"]) == ("error", len(large))
    assert lost["message"].startswith("\x1b[2J\\xff")
    assert len(lost["message"]) < 2100


@pytest.mark.parametrize(("bridges", "lost"), [(1, 1), (2, 0)])
def test_what_came_before_the_first_milestone_is_lost_unless_another_bridge_was_there(
    bridges: int, lost: int
) -> None:
    channel = ChannelInMemory(bridges=bridges)
    channel.early = [b"early"]
    channel.says.append(b"a")

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: channel.added == [b"a"])

    assert (bridge.account.lost, bridge.account.left_to_others) == (lost, 1 - lost)
    assert len(events(logs, "message lost")) == lost
    left = events(logs, "message left to other bridges")
    assert [(each["log_level"], each["message"]) for each in left] == [("warning", "early")] * (1 - lost)


def test_numbers_begin_with_a_milestone_of_our_own() -> None:
    channel = ChannelInMemory(bridges=2)
    channel.early = [Heard(True, b"1" * 32), b"another has its number"]
    channel.says.append(b"a")

    with running(channel) as (bridge, _):
        eventually(lambda: channel.added == [b"a"])

    assert bridge.account.left_to_others == 1


def test_what_came_before_a_cut_before_the_first_milestone_is_accounted_for() -> None:
    channel = ChannelInMemory()
    channel.says.append(b"a")

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: channel.added == [b"a"] and bridge.hears)
        channel.cut_while_joining.extend([[Heard(False, b"early")], DOWN])
        channel.says.append(DOWN)
        eventually(lambda: bridge.account.lost == 1)
        channel.says.append(b"b")
        eventually(lambda: channel.added == [b"a", b"b"])

    assert [lost["message"] for lost in events(logs, "message lost")] == ["early"]


def test_what_came_before_a_bridge_knew_of_others_is_lost_though_there_were_others_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hearing, "ADDED_WITHIN_S", 0.05)
    channel = ChannelInMemory(bridges=2)
    fence, fails = channel.fence, iter([True])

    def fence_that_fails(server: str) -> Fence:
        if server == "there" and next(fails, False):
            raise DOWN
        return fence(server)

    monkeypatch.setattr(channel, "fence", fence_that_fails)
    with capture_logs() as logs, running(channel) as (bridge, _):
        channel.refuses = True
        channel.says.append(b"kept")
        eventually(lambda: channel.asked)
        channel.server = "there"
        channel.says.extend([DOWN, b"early"])
        eventually(lambda: bridge.account.gaps == 1 and bridge.hears)
        channel.refuses = False

    assert "early" in [lost["message"] for lost in events(logs, "message lost")]


def test_cut_is_said_with_how_long_it_lasted() -> None:
    channel = ChannelInMemory()
    channel.says.extend([b"a", DOWN, b"b"])

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: channel.added == [b"a", b"b"])

    (again,) = events(logs, "hearing the channel again")
    assert (again["log_level"], again["gap_s"] > 0, bridge.account.gaps) == ("warning", True, 1)


def test_what_is_refused_since_the_channel_is_heard_elsewhere_is_lost_and_said_and_the_bridge_follows() -> (
    None
):
    channel = ChannelInMemory()
    many = [b"%d" % n for n in range(BATCH_MESSAGES + 1)]

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: bridge.hears)
        channel.refuses = True
        channel.says.extend(many)
        eventually(lambda: bridge.account.received == len(many))
        channel.moved_to = Fence("there:2", 0)
        channel.refuses = False
        eventually(lambda: events(logs, "hearing the channel again"))
        channel.says.append(b"here")
        eventually(lambda: channel.added == [b"here"])

    assert [lost["message"].encode() for lost in events(logs, "message lost")] == many
    assert {lost["why"] for lost in events(logs, "message lost")} == {
        "the channel is heard at another server by now, where a bridge may have added it"
    }
    (cut,) = events(logs, "cut off: what is published now is lost, but for other bridges")
    assert (cut["reason"], bridge.account.gaps) == ("the channel is heard at another server by now", 1)


def test_what_is_heard_until_a_bridge_leaves_for_another_server_is_said_one_by_one() -> None:
    channel = ChannelInMemory()
    channel.says.append(b"a")

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: channel.added == [b"a"])
        channel.last.append(b"last")
        channel.moved_to = Fence("there:2", 0)
        channel.says.append(b"b")
        eventually(lambda: bridge.account.gaps == 1 and bridge.hears)

    assert [lost["message"] for lost in events(logs, "message lost")] == ["b", "last"]
    assert channel.added == [b"a"]


def test_what_is_kept_is_added_before_the_bridge_moves_the_channel() -> None:
    channel = ChannelInMemory()

    with running(channel) as (bridge, _):
        eventually(lambda: bridge.hears)
        channel.refuses = True
        channel.says.extend([b"a", b"b"])
        eventually(lambda: bridge.account.received == 2)
        channel.server = "there"
        channel.says.append(DOWN)
        eventually(lambda: bridge.account.gaps == 1)
        tries = channel.asked + 2
        eventually(lambda: channel.asked >= tries)
        channel.refuses = False
        eventually(lambda: bridge.hears)

    assert channel.added == [b"a", b"b"]
    assert (channel.fenced.name, bridge.account.lost) == ("there:2", 0)


def test_bridge_that_hears_nothing_learns_by_a_milestone_that_the_channel_is_heard_elsewhere() -> None:
    channel = ChannelInMemory()

    with running(channel) as (bridge, _):
        eventually(lambda: bridge.hears)
        channel.moved_to = Fence("there:2", 0)
        channel.says.append(Heard(True, b"1" * 32))
        eventually(lambda: bridge.account.gaps == 1 and bridge.hears)
        channel.says.append(b"a")
        eventually(lambda: channel.added == [b"a"])

    assert bridge.account.lost == 0


@pytest.mark.parametrize("bridges", [1, 2])
def test_nothing_is_numbered_for_a_while_after_the_channel_has_moved(bridges: int) -> None:
    channel = ChannelInMemory(bridges=bridges)
    channel.fenced = Fence("here:2", 0.3)
    # Another bridge's milestone says nothing of what was added at the server of before.
    channel.says.extend([b"a", Heard(True, b"1" * 32), b"b"])
    began = time.monotonic()

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: bridge.hears)
        waited = time.monotonic() - began
        channel.says.append(b"c")
        eventually(lambda: channel.added == [b"c"])

    assert waited >= 0.3
    assert [lost["message"] for lost in events(logs, "message lost")] == ["a", "b"]
    assert {lost["why"] for lost in events(logs, "message lost")} == {
        "the channel was moved to this server, and a bridge at another one may have added it"
    }


def test_what_was_published_before_the_end_is_added() -> None:
    channel = ChannelInMemory()
    channel.refuses = True

    with running(channel) as (bridge, ended):
        channel.says.append(b"a")
        eventually(lambda: channel.asked > 0)
        channel.says.extend(b"%d" % n for n in range(100))
        bridge.leave()
        channel.refuses = False

    assert len(channel.added) == 101
    assert ended == []


def test_what_could_not_be_added_before_the_drain_timeout_is_in_the_log() -> None:
    channel = ChannelInMemory()
    channel.refuses = True

    with capture_logs() as logs, running(channel, drain_s=0.1) as (bridge, ended):
        channel.says.extend([b"a", b"b"])
        eventually(lambda: bridge.account.received == 2)

    assert [lost["message"] for lost in events(logs, "message lost")] == ["a", "b"]
    assert "2 messages were lost" in str(ended[0])


def test_bridge_that_is_deaf_by_a_bug_adds_what_it_has_and_ends() -> None:
    channel = ChannelInMemory()
    channel.says.extend([b"a", ZeroDivisionError("a bug")])

    with capture_logs() as logs, running(channel) as (_, ended):
        eventually(lambda: ended)

    assert channel.added == [b"a"]
    assert events(logs, "the channel is not heard any more")


class CutConnection:
    """Says two messages, is cut, and would then connect anew without a word, as the library's own does.

    Where it is encrypted it is taken for closed as soon as it was cut, as by the library.
    """

    def __init__(self, *, encrypted: bool) -> None:
        self.encrypted = encrypted
        self.says: deque[Any] = deque(
            [b"run_id:1", [b"subscribe"], [b"subscribe"], [b"message", b"a", b"1"], [b"message", b"a", b"2"],
             redis.ConnectionError("cut"), [b"message", b"a", b"4"]]
        )  # fmt: skip

    def connect(self) -> None:
        pass

    def send_command(self, *_command: str) -> None:
        pass

    def can_read(self, timeout: float) -> bool:  # noqa: ARG002  the library's signature
        seen = list(self.says)[: None if self.encrypted else 1]
        if any(isinstance(each, Exception) for each in seen):
            raise redis.ConnectionError("Connection closed by server.")
        return True

    def read_response(self) -> Any:
        said = self.says.popleft()
        if isinstance(said, Exception):
            raise said
        return said


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_came_before_a_cut_is_heard_and_nothing_after_it(*, encrypted: bool) -> None:
    subscription = Subscription(CutConnection(encrypted=encrypted), "a", "milestones")

    heard = subscription.read(1)
    for _ in range(2):
        with pytest.raises(Outage, match="cut"):
            subscription.read(1)

    assert [each.data for each in heard] == [b"1", b"2"]


class ChannelThatAges(ChannelInMemory):
    """A channel of which each subscription is a queue of its own; `ages` says how many come of age."""

    def __init__(self, ages: int) -> None:
        super().__init__()
        self.open: list[QueueOfOne] = []
        self.ever = 0
        self.fails_to_open = 0
        self.behind: list[bytes] = []
        self.moves = False
        self._ages = ages

    @contextmanager
    def subscribed(self) -> Iterator[Any]:
        if self.ever and self.fails_to_open:
            self.fails_to_open -= 1
            raise DOWN
        self.ever += 1
        moves = self.moves and self.ever == 2
        if moves:
            self.server = "there"
            self.open[0].says.append(Heard(False, b"at the old one"))
        made = QueueOfOne(self.server, ages=self.ever <= self._ages)
        if moves:
            made.says.append(Heard(False, b"at the new one"))
        self.open.append(made)
        try:
            yield made
        finally:
            self.open.remove(made)

    def set_milestone(self, token: str) -> int:
        # Between what the old one has not read yet and what comes at once.
        for message in self.behind:
            self.publish(Heard(False, message))
        self.publish(Heard(True, token.encode()))
        for message in self.behind:
            self.publish(Heard(False, message + b" after"))
        return len(self.open)

    def publish(self, heard: Heard) -> None:
        for each in self.open:
            each.says.append(heard)


class QueueOfOne:
    """What one subscription has not read yet."""

    heard_at = 0.0

    def __init__(self, server: str, *, ages: bool) -> None:
        self.server = server
        self.says: deque[Heard | Exception] = deque()
        self._ages = ages

    def is_old(self) -> bool:
        return self._ages

    def read(self, wait_s: float) -> Sequence[Heard]:
        if not self.says:
            threading.Event().wait(min(wait_s, 0.01))
            return []
        if isinstance(self.says[0], Exception):
            raise self.says.popleft()  # type: ignore[misc]  # it is one
        found = [each for each in self.says if isinstance(each, Heard)]
        self.says.clear()
        return found

    def finish(self) -> Sequence[Heard]:
        return self.read(0)


def test_nothing_is_missed_or_doubled_when_a_subscription_is_renewed() -> None:
    channel = ChannelThatAges(ages=3)
    channel.behind = [b"a", b"b"]

    with running(channel) as (bridge, _):
        eventually(lambda: channel.ever == 4 and len(channel.open) == 1)
        channel.publish(Heard(False, b"last"))
        eventually(lambda: channel.added[-1:] == [b"last"])

    # What came before the first milestone has no number.
    assert channel.added == [b"a after", b"b after", *[b"a", b"b", b"a after", b"b after"] * 3, b"last"]
    assert (bridge.account.gaps, bridge.account.lost) == (0, 2)


def test_subscription_that_can_not_be_renewed_goes_on_hearing() -> None:
    channel = ChannelThatAges(ages=1)
    channel.fails_to_open = 1

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: events(logs, "the connection to the channel could not be renewed"))
        channel.publish(Heard(False, b"a"))
        eventually(lambda: channel.added == [b"a"])

    assert (bridge.account.gaps, channel.ever) == (0, 1)


def test_bridge_moves_as_after_a_cut_when_its_subscription_would_go_on_at_another_server() -> None:
    channel = ChannelThatAges(ages=1)
    channel.moves = True

    with capture_logs() as logs, running(channel) as (bridge, _):
        eventually(lambda: channel.ever == 2 and len(channel.open) == 1 and bridge.hears)
        channel.publish(Heard(False, b"last"))
        eventually(lambda: channel.added[-1:] == [b"last"])

    # Both subscriptions have heard the second one, as they may in any order.
    assert channel.added == [b"at the old one", b"last"]
    assert [lost["message"] for lost in events(logs, "message lost")] == ["at the new one"]
    assert (bridge.account.gaps, len(events(logs, "hearing the channel again"))) == (1, 1)


def test_start_fails_when_the_channel_cannot_be_heard() -> None:
    class Away(ChannelInMemory):
        def set_milestone(self, token: str) -> int:  # noqa: ARG002  the port's
            raise DOWN

    with pytest.raises(Outage):
        Bridge(Away(), Backlog(1000), drain_s=1).run()
