"""Who is asked where the server is, and what counts of what they say."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.listening import Listening
from worker.stream.link.options import options_of
from worker.ways import asking
from worker.ways.asking import Asked, NotKnownError, Place
from worker.ways.nodes import Node
from worker.ways.pools import pool_of
from worker.ways.urls import way_of

ONE, TWO, THREE = (("one", 1), ("two", 2), ("three", 3))
SLOT_OF_KEY = 15_495  # of the tag {a}


class Scripted(Listening):
    """Has one reply to what is asked; `asked` counts how often."""

    def __init__(self, reply: bytes) -> None:
        self.asked = 0
        self._reply = reply
        super().__init__()

    def reply(self, request: bytes) -> bytes:
        """Return the reply, or take note of what is not asked."""
        is_asked = b"SLOTS" in request or b"SENTINEL" in request
        self.asked += is_asked
        return self._reply if is_asked else b"+OK\r\n"


@pytest.fixture
def scripted() -> Iterator[Callable[[bytes], Scripted]]:
    with ExitStack() as made:

        def start(reply: bytes) -> Scripted:
            server = Scripted(reply)
            made.callback(server.stop)
            return server

        yield start


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


def array(*parts: bytes) -> bytes:
    return f"*{len(parts)}\r\n".encode() + b"".join(parts)


def table(host: bytes, first: int = 0, last: int = 16_383) -> bytes:
    return array(array(b":%d\r\n" % first, b":%d\r\n" % last, array(host, b":7000\r\n", bulk("id"))))


def masters(name: str, flags: str = "master") -> bytes:
    """Return what Sentinel tells of one service."""
    state = {
        "name": name,
        "ip": "10.0.0.1",
        "port": "6379",
        "flags": flags,
        "num-other-sentinels": "2",
    }
    return array(array(*(bulk(part) for pair in state.items() for part in pair)))


def place_in_cluster(*servers: Scripted) -> Place:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    way = way_of(f"redis+cluster://{hosts}")
    return Node(way, options_of(way.url), "{a}orders").place()


def place_of_primary(*servers: Scripted) -> Place:
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    way = way_of(f"redis+sentinel://{hosts}/main")
    pool = pool_of(way, options_of(way.url), "{a}orders")
    place: Place = pool.sentinel_manager.discover_master("main")  # type: ignore[attr-defined]
    return place


def test_whoever_does_not_know_is_asked_last_until_it_knows() -> None:
    everybody, without, order = Asked((ONE, TWO, THREE)), {ONE, TWO}, []

    def ask(host: Place) -> Place:
        order.append(host)
        if host in without:
            raise redis.ConnectionError("away")
        return host

    # Once all were tried, nobody is away in vain any more.
    for _ in range(30):
        assert everybody.first(ask) == THREE
    assert order.count(ONE) <= 1
    assert order.count(TWO) <= 1

    without = {THREE, TWO}
    assert everybody.first(ask) == ONE


def test_search_ends_in_time_and_the_next_one_goes_on_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "LONGEST_S", 0.0)
    everybody, order = Asked((ONE, TWO, THREE)), []

    def ask(host: Place) -> Place:
        order.append(host)
        raise redis.TimeoutError("silent")

    for _ in range(3):
        with pytest.raises(redis.TimeoutError, match=r"^(one:1|two:2|three:3): silent$"):
            everybody.first(ask)

    assert sorted(order) == sorted((ONE, TWO, THREE))


def test_whoever_did_not_know_is_remembered_in_all_of_the_process() -> None:
    assert asking.asked((ONE, TWO)) is asking.asked((ONE, TWO))
    assert asking.asked((ONE, TWO)) is not asking.asked((ONE, THREE))


def test_whoever_answers_counts_more_than_whoever_is_away() -> None:
    def ask(host: Place) -> Place:
        if host == TWO:
            raise NotKnownError("nobody has it")
        raise redis.ConnectionError("away")

    for _ in range(5):
        with pytest.raises(NotKnownError, match="nobody has it"):
            Asked((ONE, TWO, THREE)).first(ask)


def test_host_whose_name_is_none_is_an_outage() -> None:
    def ask(_: Place) -> Place:
        raise UnicodeError("label empty or too long")

    with pytest.raises(redis.ConnectionError, match="one:1: label empty"):
        Asked((ONE,)).first(ask)


@pytest.mark.parametrize(
    ("reply", "host"),
    [(table(bulk("10.0.0.7")), "10.0.0.7"), (table(b"$-1\r\n"), "127.0.0.1"), (table(bulk("")), "127.0.0.1")],
    ids=["named", "the one that was asked", "as before Redis 7"],
)
def test_node_is_where_the_table_of_slots_says(
    scripted: Callable[[bytes], Scripted], reply: bytes, host: str
) -> None:
    assert place_in_cluster(scripted(reply)) == (host, 7000)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (array(), "no node of the cluster has the slot of {a}orders"),
        (table(bulk("h"), last=SLOT_OF_KEY - 1), "no node of the cluster has the slot of {a}orders"),
        (table(bulk("?")), "the node at port 7000 has no cluster-announce-hostname"),
    ],
    ids=["no slots", "not this slot", "no name"],
)
def test_node_that_nobody_knows_is_an_outage(
    scripted: Callable[[bytes], Scripted], reply: bytes, said: str
) -> None:
    with pytest.raises(NotKnownError) as raised:
        place_in_cluster(scripted(reply))

    assert str(raised.value) == said


@pytest.mark.parametrize(
    "wrong", [array(), b"-ERR cluster support disabled\r\n", b"-LOADING x\r\n", b"HTTP/1.1 400\r\n\r\n"]
)
def test_node_that_answers_wrongly_does_not_hide_the_others(
    scripted: Callable[[bytes], Scripted], wrong: bytes
) -> None:
    asked_wrongly, other = scripted(wrong), scripted(table(bulk("10.0.0.7")))

    while not asked_wrongly.asked:
        assert place_in_cluster(asked_wrongly, other) == ("10.0.0.7", 7000)


@pytest.mark.parametrize(
    "wrong",
    [
        b"-NOPERM no permissions to run the 'sentinel' command\r\n",
        b"-ERR unknown command\r\n",
        b"-IDONTKNOW x\r\n",
        b"HTTP/1.1 400\r\n\r\n",
        array(),
        masters("other"),
        masters("main", "master,s_down"),
    ],
)
def test_sentinel_that_answers_wrongly_does_not_hide_the_others(
    scripted: Callable[[bytes], Scripted], wrong: bytes
) -> None:
    asked_wrongly, other = scripted(wrong), scripted(masters("main"))

    while not asked_wrongly.asked:
        assert place_of_primary(asked_wrongly, other) == ("10.0.0.1", 6379)


def test_sentinels_none_of_which_knows_tell_what_they_do_know(
    scripted: Callable[[bytes], Scripted],
) -> None:
    with pytest.raises(NotKnownError, match=r"^no Sentinel knows a service 'main'; known are: 'other'$"):
        place_of_primary(scripted(masters("other")), scripted(b"-NOPERM x\r\n"))
    with pytest.raises(NotKnownError, match=r"^no Sentinel knows a primary for 'main' now$"):
        place_of_primary(scripted(masters("main", "master,o_down")))
    with pytest.raises(redis.exceptions.NoPermissionError, match=r"^the Sentinel refuses: "):
        place_of_primary(scripted(b"-NOPERM x\r\n"))
