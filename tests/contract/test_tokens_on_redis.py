"""The tokens beside streams, in Redis."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import Deployment, names_of
from worker.domain.errors import Outage
from worker.stream import RedisLink, StreamToken


@pytest.fixture
def link(deployment: Deployment) -> Iterator[RedisLink]:
    made = RedisLink(deployment.redis_url(), block_ms=50, client_name="test", a_key=deployment.orders)
    yield made
    made.close()


def vanishing(deployment: Deployment, link: RedisLink, key: str, times: int) -> list[Any]:
    """Have a key deleted before it is read, so many times; return what was deleted."""
    deleted: list[Any] = []
    call = link.call

    def deleting(*command: Any) -> Any:
        if command == ("GET", key) and len(deleted) < times:
            deleted.append(deployment.redis.getdel(key))
        return call(*command)

    link.call = deleting  # type: ignore[method-assign]
    return deleted


def test_streams_have_tokens_of_their_own_that_stay(deployment: Deployment, link: RedisLink) -> None:
    """Proves that orders and results are told apart, and that all who ask are told the same."""
    token = StreamToken(link, names_of(deployment, "test"))
    assert not token.is_known()

    first = token.token(), token.results_token()

    assert token.is_known()
    assert (token.token(), token.results_token()) == first
    assert first[0] != first[1]


def test_token_is_made_anew_when_its_key_vanishes_before_it_was_read(
    deployment: Deployment, link: RedisLink
) -> None:
    """Proves that a stream is never known by the text None."""
    names = names_of(deployment, "test")
    deleted = vanishing(deployment, link, names.token, times=1)

    token = StreamToken(link, names).token()

    assert deployment.redis.get(names.token) == token.encode()
    assert token.encode() not in deleted


def test_token_is_an_outage_when_its_key_always_vanishes(deployment: Deployment, link: RedisLink) -> None:
    """Proves that nobody waits for ever."""
    names = names_of(deployment, "test")
    vanishing(deployment, link, names.token, times=100)

    with pytest.raises(Outage, match="vanishes"):
        StreamToken(link, names).token()
