"""A callback that is asked for user and password: what it may answer, raise, and how long it may take."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import pytest

from tests.harness import eventually
from tests.unit.test_endpoints import ask, linked, serving
from tests.unit.test_settings import accepted
from worker.bootstrap.parts import credentials
from worker.bootstrap.parts.credentials import MOST_AT_ONCE, Asking, credentials_of
from worker.domain.credentials import Server
from worker.domain.endpoints import Endpoint
from worker.domain.errors import AccessDenied, ConfigurationError, Outage
from worker.store import Database

HERE = "tests.unit.test_credentials"
SECRET = "hidden"
REDIS = Server("redis", "me", "host", 6379)
POSTGRESQL = Server("postgresql", "me", "host", 5432)

A_TEXT = "no callback"


def fixed(_server: Server) -> tuple[str, str]:
    return "fixed", "password"


class TokenServiceAwayError(Exception):
    """What a callback raises."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_callback_is_found_by_its_module_and_name() -> None:
    found = credentials_of(accepted(WORKER_CREDENTIALS=f"{HERE}:fixed"))

    assert found is not None
    assert found(REDIS) == ("fixed", "password")


def test_nobody_is_asked_where_nothing_is_set() -> None:
    assert credentials_of(accepted()) is None
    assert Endpoint.fixed("redis://host").login(REDIS) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "no.such.module:name",
            "can't be loaded: ModuleNotFoundError: No module named 'no'; install its package",
        ),
        (f"{HERE}:missing", "can't be loaded: AttributeError: "),
        (f"{HERE}:A_TEXT", "can't be called"),
    ],
)
def test_what_can_not_be_asked_is_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        credentials_of(accepted(WORKER_CREDENTIALS=name))

    assert str(refused.value).startswith(f"WORKER_CREDENTIALS: '{name}' {why}")


def test_text_that_an_import_fails_with_is_not_shown(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken_on_import.py").write_text(f"raise OSError('{SECRET}')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)

    with pytest.raises(ConfigurationError, match="importing it raises OSError") as refused:
        credentials_of(accepted(WORKER_CREDENTIALS="broken_on_import:name"))

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "two texts, not NoneType"),
        (SECRET, "two texts, not str"),
        ((SECRET,), "two texts, not tuple of 1: str"),
        ((SECRET, SECRET, SECRET), "two texts, not tuple of 3: str, str, str"),
        (("me", SECRET.encode()), "two texts, not tuple of 2: str, bytes"),
        ({"user": SECRET, "password": SECRET}, "two texts, not dict"),
        (("me", f"{SECRET}\n"), "gave a control character, such as a line break"),
        (("me", f"{SECRET}\ud800"), "gave a control character, such as a line break"),
    ],
)
def test_answer_that_is_no_user_and_password_has_to_be_mended_and_is_not_shown(
    answer: object, why: str
) -> None:
    def wrong(_server: Server) -> object:
        return answer

    with pytest.raises(AccessDenied) as refused:
        Asking(wrong)(REDIS)  # type: ignore[arg-type]  # it is what is tried

    assert str(refused.value).startswith("redis: WORKER_CREDENTIALS: ")
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)


def test_only_redis_has_a_user_without_a_name() -> None:
    asking = Asking(lambda _: ("", "password"))

    assert asking(REDIS) == ("", "password")
    with pytest.raises(AccessDenied, match="gave no user"):
        asking(POSTGRESQL)


@pytest.mark.parametrize("error", [TokenServiceAwayError(SECRET), SystemExit(SECRET)])
def test_what_a_callback_raises_is_an_outage_told_by_its_class_alone(error: BaseException) -> None:
    def failing(_server: Server) -> tuple[str, str]:
        raise error

    with pytest.raises(Outage) as outage:
        Asking(failing)(POSTGRESQL)

    assert str(outage.value) == f"postgresql: WORKER_CREDENTIALS: raised {type(error).__name__}"
    assert not isinstance(outage.value, AccessDenied)
    assert outage.value.__cause__ is None


class Slow:
    """Answers once it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = Event()

    def __call__(self, _server: Server) -> tuple[str, str]:
        self.asked += 1
        assert self.go_on.wait(20)
        return "late", "password"


def try_in_vain(asking: Asking, server: Server = REDIS) -> None:
    with pytest.raises(Outage, match=r"has not returned within 0\.01 s"):
        asking(server)


def test_callback_that_never_returns_is_called_once_and_each_try_ends() -> None:
    slow = Slow()
    asking = Asking(slow, patience_s=0.01)

    for _ in range(5):
        try_in_vain(asking)

    assert slow.asked == 1
    slow.go_on.set()


class Hanging:
    """Never returns the first times it is called."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0
        self.go_on = Event()

    def __call__(self, _server: Server) -> tuple[str, str]:
        self.asked += 1
        if self.asked <= self.times:
            assert self.go_on.wait(20)
            return "never", "heard"
        return "me", "password"


def test_callback_that_hangs_is_given_up_and_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(times=1)
    asking = Asking(hanging, patience_s=0.01)
    try_in_vain(asking)
    monkeypatch.setattr(credentials, "GIVEN_UP_AFTER_S", 0.0)

    answer = asking(REDIS)

    assert (answer, hanging.asked) == (("me", "password"), 2)
    hanging.go_on.set()


def test_next_call_is_waited_for_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(times=2)
    asking = Asking(hanging, patience_s=0.01)
    try_in_vain(asking)
    monkeypatch.setattr(credentials, "GIVEN_UP_AFTER_S", 0.0)
    try_in_vain(asking)
    monkeypatch.setattr(credentials, "GIVEN_UP_AFTER_S", 0.2)
    began = time.monotonic()

    def answers() -> bool:
        with suppress(Outage):
            return bool(asking(REDIS))
        return False

    eventually(answers)

    assert time.monotonic() - began >= 0.3
    hanging.go_on.set()


@pytest.mark.parametrize("server", [REDIS, POSTGRESQL], ids=["the same server", "another server"])
def test_no_more_than_four_calls_hang_until_one_returns(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(credentials, "GIVEN_UP_AFTER_S", 0.0)
    hanging = Hanging(times=MOST_AT_ONCE)
    asking = Asking(hanging, patience_s=0.01)
    for _ in range(MOST_AT_ONCE):
        try_in_vain(asking)

    for _ in range(3):
        with pytest.raises(Outage, match="not returned"):
            asking(server)

    assert hanging.asked == MOST_AT_ONCE
    hanging.go_on.set()
    eventually(lambda: not any(thread.name == "credentials" for thread in enumerate_threads()))
    assert asking(POSTGRESQL) == ("me", "password")


def test_answer_that_came_late_serves_the_next_try_alone() -> None:
    slow = Slow()
    asking = Asking(slow, patience_s=0.01)
    try_in_vain(asking)
    slow.go_on.set()
    eventually(lambda: not asking._question or not asking._question.is_alive())  # noqa: SLF001

    answers = [asking(REDIS), asking(REDIS)]

    assert answers == [("late", "password")] * 2
    assert slow.asked == 2


def test_answer_that_came_long_ago_serves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    asking = Asking(slow, patience_s=0.01)
    try_in_vain(asking)
    slow.go_on.set()
    eventually(lambda: not asking._question or not asking._question.is_alive())  # noqa: SLF001
    monkeypatch.setattr(credentials, "LATE_IS_GOOD_FOR_S", -1.0)

    asking(REDIS)

    assert slow.asked == 2


def test_whoever_connects_while_somebody_is_asked_awaits_the_same_answer() -> None:
    slow, answers = Slow(), list[tuple[str, str]]()
    asking = Asking(slow)
    threads = [Thread(target=lambda: answers.append(asking(REDIS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: slow.asked)
    slow.go_on.set()
    for thread in threads:
        thread.join()

    assert answers == [("late", "password")] * 4


def test_answer_for_another_user_is_not_taken() -> None:
    slow = Slow()
    asking = Asking(slow, patience_s=0.01)
    try_in_vain(asking)

    try_in_vain(asking, Server("redis", "other", "host", 6379))

    assert slow.asked == 2
    slow.go_on.set()


def failing_with(outage: Outage) -> Callable[[Server], tuple[str, str]]:
    def failing(_server: Server) -> tuple[str, str]:
        raise outage

    return failing


def test_redis_is_sent_what_the_callback_gives_at_each_connection(stack: ExitStack) -> None:
    server, asked, given = serving(stack, "+here"), list[Server](), iter([("a", "one"), ("", "two")])

    def callback(which: Server) -> tuple[str, str]:
        asked.append(which)
        return next(given)

    link = linked(stack, Endpoint(lambda: server.url, credentials=callback))
    ask(link)
    link._clients.commands.connection_pool.disconnect()  # noqa: SLF001  as a server does

    ask(link)

    port = int(server.url.rpartition(":")[2])
    assert asked == [Server("redis", "me", "127.0.0.1", port)] * 2
    said = [login.split(b"\r\n")[-6:-1:2] for login in server.logins]
    assert said == [[b"AUTH", b"a", b"one"], [b"AUTH", b"default", b"two"]]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(Outage("redis", "callback: away"), Outage), (AccessDenied("redis", "callback: bad"), AccessDenied)],
)
def test_redis_without_credentials_is_away_and_its_connection_closed(
    stack: ExitStack, raised: Outage, kind: type[Outage]
) -> None:
    server = serving(stack, "+here")
    link = linked(stack, Endpoint(lambda: server.url, credentials=failing_with(raised)))

    with pytest.raises(Outage, match="callback: ") as outage:
        ask(link)

    assert type(outage.value) is kind
    eventually(lambda: (server.connections, server.open) == (1, 0))
    assert server.logins == []


def test_nodes_of_a_cluster_are_not_asked_one_after_another_while_there_are_no_credentials(
    stack: ExitStack,
) -> None:
    """Proves that a callback which hangs is waited for once, however many nodes the URL names."""
    nodes, asked = [serving(stack, "+here") for _ in range(3)], list[Server]()
    hosts = ",".join(f"127.0.0.1:{node.url.rpartition(':')[2]}" for node in nodes)

    def callback(which: Server) -> tuple[str, str]:
        asked.append(which)
        raise Outage("redis", "callback: away")

    link = linked(stack, Endpoint(lambda: f"redis+cluster://me@{hosts}", credentials=callback))

    with pytest.raises(Outage, match="callback: away"):
        ask(link)

    assert asked == [Server("redis", "me", None, None)]


@pytest.mark.parametrize(
    ("url", "user", "host", "port"),
    [
        ("postgresql://me:old@127.0.0.1:1/base", "me", "127.0.0.1", 1),
        ("postgresql://127.0.0.1/base?user=me&host=127.0.0.1&port=1", "me", "127.0.0.1", 1),
        ("postgresql://me@127.0.0.1:1,127.0.0.1:2/base", "me", None, None),
    ],
)
def test_postgresql_callback_is_told_what_the_url_names(
    url: str, user: str, host: str | None, port: int | None
) -> None:
    asked = list[Server]()

    def callback(which: Server) -> tuple[str, str]:
        asked.append(which)
        raise Outage("postgresql", "no token")

    database = Database(
        Endpoint(lambda: url, credentials=callback),
        transaction_timeout_s=1, pool_size=1, application_name="test",
    )  # fmt: skip
    with pytest.raises(Outage, match="no token"):
        database.ping()
    database.close()

    assert asked == [Server("postgresql", user, host, port)]


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_place_is_left_each_time_its_connections_have_come_of_age() -> None:
    clock = Clock()
    place = Endpoint(lambda: "redis://host", renew_after_s=10, clock=clock)
    seen = []
    for clock.now in (0, 9.9, 10, 19.9, 20, 100, 101):
        seen.append(place.departures)

    assert seen == [0, 0, 1, 1, 2, 3, 3]


def test_age_is_counted_from_when_the_place_was_left_last() -> None:
    clock = Clock()
    place = Endpoint(lambda: "redis://host", renew_after_s=10, clock=clock)
    clock.now = 9
    place.leave()
    clock.now = 18

    assert place.departures == 1


def test_connections_of_redis_are_renewed_once_they_are_old_and_a_read_that_waits_is_heard_first(
    stack: ExitStack,
) -> None:
    server, clock = serving(stack, "+here"), Clock()
    link = linked(stack, Endpoint(lambda: server.url, renew_after_s=10, clock=clock))
    waiting = link.begin("XLEN", "orders")
    clock.now = 10

    answers = [ask(link), waiting(), ask(link)]

    assert answers == [b"here"] * 3
    assert server.connections == 2
    eventually(lambda: server.open == 1)
