"""Clients that `worker.client` makes of a URL: who is asked, what is refused, and that no secret is shown."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.credentials import UsernamePasswordCredentialProvider
from redis.retry import Retry

from worker.client import AsyncProducer, Producer, Results, connect, connect_async

HIDDEN = "hidden"
URLS = [
    "redis://:hidden@h/0",
    "rediss://:hidden@h/0",
    "unix:///run/redis.sock",
    "redis+sentinel://:hidden@h/main",
    "rediss+sentinel://:hidden@h/main",
    "redis+cluster://:hidden@h",
    "rediss+cluster://:hidden@h",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("made_by", [connect, connect_async])
def test_connections_repeat_nothing_and_have_time_limits(url: str, made_by: Callable[..., Any]) -> None:
    pool = made_by(url).connection_pool

    connection = pool.make_connection()

    assert isinstance(connection, redis.Connection | redis.UnixDomainSocketConnection) == (made_by is connect)
    assert connection.retry.get_retries() == 0
    assert connection.socket_timeout == 5
    assert ("SSL" in type(connection).__name__) == url.startswith("rediss")


def test_url_may_say_how_long_to_wait() -> None:
    pool: Any = connect("redis://h?socket_timeout=20").connection_pool

    assert pool.make_connection().socket_timeout == 20


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("made_by", [connect, connect_async])
def test_options_of_connections_are_the_callers_but_for_retries(
    url: str, made_by: Callable[..., Any]
) -> None:
    tokens = UsernamePasswordCredentialProvider("me", "token")

    connection = made_by(
        url, credential_provider=tokens, retry=Retry(NoBackoff(), 9)
    ).connection_pool.make_connection()

    assert connection.credential_provider.provider is tokens
    assert connection.retry.get_retries() == 0


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hidden@h",
        "redis+elsewhere://:hidden@h/main",
        "http://:hidden@h",
        "redis://:hidden@h:port/0",
        "rediss+cluster://:hidden@h?ssl_check_hostname=False&ssl_min_version=hidden",
        "redis://:hidden@h?unheard_of=hidden",
    ],
)
@pytest.mark.parametrize("made_by", [connect, connect_async])
def test_url_that_can_not_be_used_is_refused_and_not_shown(url: str, made_by: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        made_by(url)

    assert HIDDEN not in str(raised.value)


def test_stream_of_another_slot_than_the_client_was_made_for_is_refused() -> None:
    client, other = connect("redis+cluster://h", stream="{a}orders"), connect_async("redis+cluster://h")

    Results(client, "{a}:results")
    with pytest.raises(ValueError, match=r"'orders' may be elsewhere than '{a}orders'"):
        Producer(client)
    with pytest.raises(ValueError, match=r"connect\(url, stream='{a}orders'\) leads to it"):
        AsyncProducer(other, "{a}orders")
    AsyncProducer(other, "{orders}")
