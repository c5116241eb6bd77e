"""A call that is interrupted between the command and its reply, as Ctrl-C may."""

from typing import Any

import pytest
import redis

from tests.harness import Deployment
from worker.client import connect
from worker.client.sending import RedisLink as ClientLink
from worker.stream.link.connection import RedisLink


class Interrupted(BaseException):
    """What a signal raises."""


def interrupt(*_: object, **__: object) -> None:
    raise Interrupted


def test_connection_of_an_interrupted_call_is_used_by_nobody(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = RedisLink(deployment.servers.place, block_ms=10, client_name="test", a_key=deployment.orders)
    before = link.call("CLIENT", "ID")

    with monkeypatch.context() as patched:
        patched.setattr(redis.Redis, "parse_response", interrupt)
        with pytest.raises(Interrupted):
            link.call("BLPOP", deployment.key("none"), "0.5")

    assert link.call("CLIENT", "ID") not in {before, None}
    link.close()


def test_connection_of_an_interrupted_call_of_a_program_that_joins_in_is_used_by_nobody(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(deployment.servers.place, stream=deployment.orders) as client:
        link: Any = ClientLink(client)
        (before,) = link.call([("CLIENT", "ID")])

        with monkeypatch.context() as patched:
            patched.setattr(redis.Redis, "parse_response", interrupt)
            with pytest.raises(Interrupted):
                link.call([("BLPOP", deployment.key("none"), "0.5")])

        (after,) = link.call([("CLIENT", "ID")])

    assert after not in {before, None}
