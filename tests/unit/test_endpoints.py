"""A place that is left: by what servers say, for all connections to it, and read anew for each."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.harness import eventually
from tests.listening import Listening
from worker.domain.endpoints import Endpoint
from worker.domain.errors import AccessDenied, Outage
from worker.stream import RedisLink
from worker.stream.link.outages import GroupLost, outages

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"
READONLY = "-READONLY You can't write against a read only replica."
IN_A_SCRIPT = f"-ERR Error running script (call to f_1): @user_script:1: {READONLY}"
ELSEWHERE = [
    READONLY,
    IN_A_SCRIPT,
    "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "-LOADING Redis is loading the dataset in memory",
    "-NOREPLICAS Not enough good replicas to write.",
    "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
]


class Repeating(Listening):
    """Lets clients in, and gives the same answer to whatever they say then."""

    def __init__(self, answer: str, hello: bytes = HELLO) -> None:
        self.logins: list[bytes] = []
        self._hello = hello
        self._answers_all = answer.encode() + b"\r\n"
        super().__init__()

    @property
    def url(self) -> str:
        """By what clients are let in."""
        return f"redis://me:first@127.0.0.1:{self.port}"

    def reply(self, request: bytes) -> bytes:
        """Return what lets a client in, or the same as always."""
        if b"HELLO" in request:
            self.logins.append(request)
            return self._hello
        return b"+OK\r\n" if b"CLIENT" in request else self._answers_all


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serving(stack: ExitStack, answer: str, hello: bytes = HELLO) -> Repeating:
    server = Repeating(answer, hello)
    stack.callback(server.stop)
    return server


def linked(stack: ExitStack, place: Endpoint | str) -> RedisLink:
    link = RedisLink(place, block_ms=10, client_name="test")
    stack.callback(link.close)
    return link


def ask(link: RedisLink) -> object:
    with outages():
        return link.call("XLEN", "orders")


@pytest.mark.parametrize("answer", ELSEWHERE)
def test_every_connection_is_made_anew_when_a_server_says_that_it_is_no_primary(
    stack: ExitStack, answer: str
) -> None:
    old, new = serving(stack, answer), serving(stack, "+new")
    urls = [old.url]
    place = Endpoint(lambda: urls[-1])
    loop, checks = linked(stack, place), linked(stack, place)
    for link in (checks, loop):
        with pytest.raises(Outage):
            ask(link)
    urls.append(new.url)

    answers = [ask(loop), ask(checks), loop.begin("XLEN", "orders")()]
    for blocks in (False, True):
        answers += loop.begin_after(loop.script("return 1"), [], [], "XLEN", "orders", blocks=blocks)()

    assert answers == [b"new"] * 7


def test_connections_are_kept_when_a_server_refuses_one_command(stack: ExitStack) -> None:
    server = serving(stack, "-WRONGTYPE Operation against a key holding the wrong kind of value")
    link = linked(stack, server.url)

    for _ in range(3):
        with pytest.raises(Outage):
            ask(link)

    assert server.connections == 1


def test_connections_that_are_open_are_left_when_a_password_is_refused(stack: ExitStack) -> None:
    here = serving(stack, "+here")
    refusing = serving(stack, "+never", hello=b"-WRONGPASS invalid username-password pair\r\n")
    urls = [here.url]
    place = Endpoint(lambda: urls[-1])
    loop, checks = linked(stack, place), linked(stack, place)
    assert ask(loop) == b"here"
    urls.append(refusing.url)
    place.leave()
    with pytest.raises(AccessDenied):
        ask(checks)
    urls.append(here.url)

    assert ask(loop) == ask(checks) == b"here"
    assert here.connections == 3


def test_place_that_two_connections_give_up_at_once_is_left_once() -> None:
    place = Endpoint.fixed("redis://anywhere")
    since = place.departures

    place.leave(since)
    place.leave(since)

    assert place.departures == since + 1


def test_credentials_are_those_of_the_url_as_it_is_when_a_connection_is_made(stack: ExitStack) -> None:
    server = serving(stack, "+here")
    urls = [server.url]
    link = linked(stack, Endpoint(lambda: urls[-1]))
    ask(link)
    urls.append(server.url.replace("first", "second"))
    # The place is not left: its server may have closed one idle connection.
    link._clients.commands.connection_pool.disconnect()  # noqa: SLF001

    ask(link)

    assert [b"second" in login for login in server.logins] == [False, True]


def test_url_that_can_not_be_used_any_more_is_an_outage_that_ends_when_it_is_mended(stack: ExitStack) -> None:
    server = serving(stack, "+here")
    urls = [server.url]
    place = Endpoint(lambda: urls[-1])
    link = linked(stack, place)
    ask(link)
    urls.append("redis://me:secret@127.0.0.1:no-port")
    place.leave()

    with pytest.raises(Outage) as refused:
        ask(link)
    urls.append(server.url)

    assert "secret" not in str(refused.value)
    assert ask(link) == b"here"


def test_reply_that_is_awaited_is_received_when_the_place_is_left_meanwhile(stack: ExitStack) -> None:
    server = serving(stack, "+here")
    place = Endpoint.fixed(server.url)
    link = linked(stack, place)

    reply = link.begin("XLEN", "orders")
    place.leave()
    ask(link)

    assert reply() == b"here"
    eventually(lambda: server.open == 1)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ("-NOGROUP No such key 'orders' or consumer group 'execution' in XREADGROUP with GROUP option", True),
        ("-UNBLOCKED the stream key no longer exists", True),
        (ELSEWHERE[-1], False),
        ("-UNBLOCKED client unblocked via CLIENT UNBLOCK", False),
    ],
)
def test_group_is_lost_only_when_it_or_its_stream_is_gone(
    stack: ExitStack, answer: str, *, lost: bool
) -> None:
    link = linked(stack, serving(stack, answer).url)

    with pytest.raises(GroupLost if lost else Outage):
        ask(link)
