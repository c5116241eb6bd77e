"""What only a real Redis can show of dead letters: closed once, in one step, bytes kept."""

from collections.abc import Iterator

import pytest
import redis
from msgspec.structs import replace

from tests.accounts import with_user
from tests.harness import Deployment
from worker.domain.errors import Outage
from worker.domain.letters import LetterState
from worker.stream import Closing, DeadLetters, RedisLink, RedisNames
from worker.stream.dead_letters import SomeLetters

REPLAYED = LetterState("replayed", "me@here", "2026-01-01T00:00:00Z", {"quantity": ("0", "1")}, fresh=True)
DISCARDED = LetterState("discarded", "me@here", "2026-01-01T00:00:00Z")


@pytest.fixture
def link(deployment: Deployment) -> Iterator[RedisLink]:
    made = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    yield made
    made.close()


@pytest.fixture
def letters(deployment: Deployment, link: RedisLink) -> DeadLetters:
    it = deployment
    return DeadLetters(
        link, RedisNames(it.orders, it.results, it.dead_letters, it.fleet.source, it.group, "nobody")
    )


def bury(deployment: Deployment, count: int = 1) -> list[str]:
    with deployment.redis.pipeline() as pipeline:
        for number in range(count):
            pipeline.xadd(deployment.dead_letters, {"entry_id": f"{number}-1", "reason": "failed"})
        return [letter_id.decode() for letter_id in pipeline.execute()]


def test_replay_adds_one_entry_byte_for_byte_and_closes_the_letter(
    deployment: Deployment, letters: DeadLetters
) -> None:
    (letter_id,) = bury(deployment)

    closing = letters.replay(letter_id, REPLAYED, [b"a", b"\xff\x00", b"a", b"2", "b", "3"])

    ((entry_id, fields),) = deployment.entries(deployment.orders)
    assert fields == [("a", b"\xff\x00"), ("a", b"2"), ("b", b"3")]
    found = letters.find(letter_id)
    assert found is not None
    assert closing == Closing(True, found.closed)
    assert found.closed == LetterState(
        "replayed", REPLAYED.by, REPLAYED.at, {"quantity": ("0", "1")}, fresh=True, replayed_as=entry_id
    )


def test_last_entry_of_an_order_that_its_letter_does_not_name_is_remembered(
    deployment: Deployment, letters: DeadLetters
) -> None:
    first, second, third = bury(deployment, 3)
    never = letters.renamed()
    letters.replay(first, REPLAYED, [b"a", b"1"])
    as_named = letters.renamed()
    closing = letters.replay(second, replace(REPLAYED, order_id="b"), [b"a", b"1"])
    letters.replay(third, REPLAYED, [b"a", b"1"])

    assert (never, as_named) == (None, None)
    assert closing.state is not None
    assert letters.renamed() == closing.state.replayed_as
    assert [each.state for each in letters.walk()] == ["replayed"] * 3


@pytest.mark.parametrize("first", ["replay", "discard"])
@pytest.mark.parametrize("second", ["replay", "discard"])
def test_closed_letter_stays_as_it_was_closed(
    deployment: Deployment, letters: DeadLetters, first: str, second: str
) -> None:
    (letter_id,) = bury(deployment)

    def close(how: str) -> Closing:
        if how == "discard":
            return letters.discard(letter_id, DISCARDED)
        return letters.replay(letter_id, REPLAYED, [b"a", b"1"])

    was = close(first)

    assert close(second) == Closing(False, was.state)
    assert len(deployment.entries(deployment.orders)) == (first == "replay")


def test_letter_that_is_not_there_is_not_closed(deployment: Deployment, letters: DeadLetters) -> None:
    assert letters.replay("1-1", REPLAYED, [b"a", b"1"]) == Closing(False, None)
    assert letters.discard("1-1", DISCARDED) == Closing(False, None)
    assert letters.find("1-1") is None
    assert deployment.all_keys() == []


def test_letter_stays_open_when_its_entry_can_not_be_added(
    deployment: Deployment, letters: DeadLetters
) -> None:
    (letter_id,) = bury(deployment)
    deployment.redis.set(deployment.orders, "no stream")

    with pytest.raises(Outage):
        letters.replay(letter_id, REPLAYED, [b"a", b"1"])

    found = letters.find(letter_id)
    assert found is not None
    assert found.state == "open"


def test_nothing_is_added_when_the_state_can_not_be_written(
    deployment: Deployment, letters: DeadLetters
) -> None:
    (letter_id,) = bury(deployment)
    deployment.redis.set(f"{deployment.dead_letters}:state", "no hash")

    with pytest.raises(Outage):
        letters.replay(letter_id, REPLAYED, [b"a", b"1"])

    assert deployment.entries(deployment.orders) == []


def test_nothing_is_added_without_permission_to_write_the_state(deployment: Deployment) -> None:
    (letter_id,) = bury(deployment)
    it = deployment
    user = f"{it.name}_clerk"
    it.redis.acl_setuser(user, enabled=True, passwords=["+secret"], commands=["+@all", "-hset"], keys=["*"])
    url = with_user(it.servers.redis_url, user, "secret")
    clerk = RedisLink(url, block_ms=100, client_name="clerk")
    names = RedisNames(it.orders, it.results, it.dead_letters, it.fleet.source, it.group, "nobody")

    try:
        with pytest.raises(Outage):
            DeadLetters(clerk, names).replay(letter_id, REPLAYED, [b"a", b"1"])
    finally:
        clerk.close()
        it.redis.acl_deluser(user)

    assert it.entries(it.orders) == []


def test_walk_goes_through_all_pages_from_a_time_on(deployment: Deployment, letters: DeadLetters) -> None:
    ids = bury(deployment, 1100)
    letters.discard(ids[700], DISCARDED)

    walked = list(letters.walk())

    assert [letter.letter_id for letter in walked] == ids
    assert [letter.letter_id for letter in walked if letter.closed] == [ids[700]]
    assert list(letters.walk(since_ms=int(ids[-1].partition("-")[0]) + 1)) == []


def test_state_of_a_future_version_is_understood(deployment: Deployment, letters: DeadLetters) -> None:
    (letter_id,) = bury(deployment)
    client: redis.Redis = deployment.redis
    client.hset(
        f"{deployment.dead_letters}:state",
        letter_id,
        '{"state": "discarded", "by": "x", "at": "y", "why": "later"}',
    )

    found = letters.find(letter_id)

    assert found is not None
    assert found.state == "discarded"


def test_letters_are_found_newest_first_and_no_more_are_looked_at_than_said(
    deployment: Deployment, letters: DeadLetters
) -> None:
    ids = bury(deployment, 1200)
    letters.discard(ids[-1], DISCARDED)

    def opened(behind: str | None, count: int, most: int, since_ms: int = 0) -> SomeLetters:
        return letters.newest(
            lambda each: each.closed is None, behind=behind, since_ms=since_ms, count=count, most=most
        )

    first = opened(None, 2, 2000)
    cut_short = opened(first.go_on_from, 1000, 700)
    rest = opened(cut_short.go_on_from, 1000, 2000)

    assert [each.letter_id for each in first.letters] == [ids[-2], ids[-3]]
    assert (first.looked_at, first.go_on_from) == (3, ids[-3])
    assert (cut_short.looked_at, cut_short.go_on_from) == (700, ids[-703])
    found = [each.letter_id for each in (*first.letters, *cut_short.letters, *rest.letters)]
    assert found == list(reversed(ids[:-1]))
    assert (rest.looked_at, rest.go_on_from) == (497, None)
    assert opened(ids[0], 10, 10) == SomeLetters([], 0, None)
    assert opened(None, 10, 10, since_ms=2**48) == SomeLetters([], 0, None)
