"""Which dead letters are let go: those that were closed long ago, and none that anybody may still miss."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness import Deployment, names_of
from worker.domain.letters import LetterState
from worker.domain.retention import LettersGone
from worker.domain.times import utc_text
from worker.stream import ClosedLetters, DeadLetters, RedisLink, StreamEvidence, closed_letters

DAY_MS = 86_400_000
# Redis keeps a small hash in one piece, and shows all of it at once.
MANY = 1500


class Desk:
    """Dead letters of one deployment, what closes them, and what lets them go."""

    def __init__(self, deployment: Deployment, link: RedisLink) -> None:
        names = names_of(deployment, "desk")
        self.deployment = deployment
        self.letters, self.closed = DeadLetters(link, names), ClosedLetters(link, names)
        self.evidence = StreamEvidence(link, names)
        self.states = names.letter_states

    def bury(self, entry_id: str = "1-1", **notes: str) -> str:
        letter: Any = {"entry_id": entry_id, "reason": "failed", **notes, "orig:entry_id": "2-2"}
        added = self.deployment.redis.xadd(self.deployment.dead_letters, letter)
        return str(added.decode())  # type: ignore[union-attr]

    def discard(self, letter_id: str, *, days_ago: float) -> None:
        at = utc_text(datetime.now(UTC) - timedelta(days=days_ago))
        self.letters.discard(letter_id, LetterState("discarded", "me@here", at))

    def replay(self, letter_id: str, *, days_ago: float) -> str:
        """Close a letter as of then by an entry that is added now; return that."""
        at = utc_text(datetime.now(UTC) - timedelta(days=days_ago))
        closing = self.letters.replay(letter_id, LetterState("replayed", "me@here", at), ["symbol", "A"])
        assert closing.state is not None
        assert closing.state.replayed_as is not None
        return closing.state.replayed_as

    def left(self) -> list[str]:
        return [letter_id for letter_id, _ in self.deployment.entries(self.deployment.dead_letters)]


@pytest.fixture
def desk(deployment: Deployment) -> Iterator[Desk]:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    yield Desk(deployment, link)
    link.close()


def test_letter_goes_with_its_state_once_it_was_closed_for_long_enough(desk: Desk) -> None:
    old, young, open_one = desk.bury(), desk.bury(), desk.bury()
    desk.discard(old, days_ago=2)
    desk.discard(young, days_ago=0.5)

    gone = desk.closed.let_go(DAY_MS)

    assert gone == LettersGone(1)
    assert desk.left() == [young, open_one]
    assert set(desk.deployment.redis.hkeys(desk.states)) == {young.encode(), b"gone"}
    assert desk.closed.let_go(DAY_MS) == LettersGone()


def test_letter_stays_as_long_as_its_entry_is_there(desk: Desk) -> None:
    (entry_id,) = desk.deployment.submit([{"symbol": "A"}])
    letter = desk.bury(entry_id)
    desk.discard(letter, days_ago=2)

    before = desk.closed.let_go(DAY_MS)
    desk.deployment.redis.xdel(desk.deployment.orders, entry_id)
    after = desk.closed.let_go(DAY_MS)

    assert (before, after) == (LettersGone(), LettersGone(1))
    assert desk.left() == []


def test_state_goes_whose_letter_somebody_has_deleted(desk: Desk) -> None:
    letter = desk.bury()
    desk.discard(letter, days_ago=2)
    desk.deployment.redis.xdel(desk.deployment.dead_letters, letter)

    assert desk.closed.let_go(DAY_MS) == LettersGone(1)
    assert desk.deployment.redis.hkeys(desk.states) == [b"gone"]


@pytest.mark.parametrize(
    "state", ["{", "{}", '{"state": "discarded", "by": "me", "at": "some day"}', '"closed"']
)
def test_letter_stays_of_which_nobody_knows_when_it_was_closed(desk: Desk, state: str) -> None:
    letter = desk.bury()
    desk.deployment.redis.hset(desk.states, letter, state)

    assert desk.closed.let_go(1) == LettersGone()
    assert desk.left() == [letter]


def test_letter_that_names_no_entry_goes(desk: Desk) -> None:
    letter = desk.bury("99999999999999999999999-1")
    desk.discard(letter, days_ago=2)

    assert desk.closed.let_go(DAY_MS) == LettersGone(1)


def test_last_letter_that_went_is_remembered(desk: Desk) -> None:
    first, second = desk.bury(), desk.bury()
    never = desk.evidence.letters_gone_until_ms()
    for letter in (second, first):
        desk.discard(letter, days_ago=2)
        desk.closed.let_go(DAY_MS)

    assert never == 0
    assert desk.evidence.letters_gone_until_ms() == int(second.partition("-")[0])


def test_each_call_looks_at_some_and_says_whether_more_may_be_due(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_letters, "LOOKED_AT_TOGETHER", 100)
    for letter in [desk.bury() for _ in range(MANY)]:
        desk.discard(letter, days_ago=2)

    rounds = [desk.closed.let_go(DAY_MS)]
    while rounds[-1].more:
        rounds.append(desk.closed.let_go(DAY_MS))

    assert sum(each.letters for each in rounds) == MANY
    assert max(each.letters for each in rounds) < MANY / 2
    assert desk.left() == []


@pytest.mark.parametrize("where", ["unread", "pending", "kept"])
def test_letter_stays_as_long_as_the_entry_that_replays_it_may_come(desk: Desk, where: str) -> None:
    it = desk.deployment
    it.redis.xgroup_create(it.orders, it.group, "0", mkstream=True)
    letter = desk.bury()
    replay = desk.replay(letter, days_ago=2)
    if where != "unread":
        it.redis.xreadgroup(it.group, "one", {it.orders: ">"})
    if where == "kept":
        it.redis.xack(it.orders, it.group, replay)
    else:
        it.submit([{"symbol": "A"}])

    before = desk.closed.let_go(DAY_MS)
    it.submit([{"symbol": "B"}])
    it.redis.xreadgroup(it.group, "one", {it.orders: ">"})
    it.redis.xack(it.orders, it.group, replay)
    it.redis.xdel(it.orders, replay)
    after = desk.closed.let_go(DAY_MS)

    assert (before, after) == (LettersGone(), LettersGone(1))
    assert desk.left() == []


@pytest.mark.parametrize("replayed_as", ["soon", "99999999999999999999999-1"])
def test_letter_goes_whose_state_names_a_replay_that_no_stream_has_given(
    desk: Desk, replayed_as: str
) -> None:
    letter = desk.bury()
    state = {"state": "replayed", "by": "me", "at": "2026-01-01T00:00:00Z", "replayed_as": replayed_as}
    desk.deployment.redis.hset(desk.states, letter, json.dumps(state))

    assert desk.closed.let_go(1) == LettersGone(1)


def test_letter_of_another_source_is_left_to_its_own_fleet(desk: Desk) -> None:
    theirs, ours = desk.bury(source="another"), desk.bury(source=desk.deployment.fleet.source)
    for letter in (theirs, ours):
        desk.discard(letter, days_ago=2)

    assert desk.closed.let_go(DAY_MS) == LettersGone(1)
    assert desk.left() == [theirs]
