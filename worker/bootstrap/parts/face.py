"""Puts together what a replica shows over HTTP, and what it tells of itself to the others."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from wsgiref.types import WSGIApplication

from msgspec import Struct
from msgspec.structs import replace

from worker import __version__
from worker.bootstrap.letters import desk_of
from worker.bootstrap.parts.announcing import Announcing
from worker.bootstrap.parts.connections import database, database_place, redis_link, redis_place
from worker.bootstrap.parts.questions import Asking
from worker.bootstrap.parts.showing import Sizes
from worker.bootstrap.parts.spelling import hiding_of, shown_orders
from worker.bootstrap.parts.telling import telling_of_database, telling_of_redis
from worker.bootstrap.parts.vitals import ReplicaVitals
from worker.bootstrap.parts.witnesses import witnesses_of
from worker.bootstrap.status import Servers
from worker.bootstrap.story import Narrator, OrderDesk
from worker.domain.database_state import DatabaseState
from worker.domain.endpoints import Endpoint
from worker.domain.stream_state import StreamState
from worker.ops import Check, Checks, History, HttpServer, Identity, Meant, Views, Watch, front
from worker.settings import Settings
from worker.settings.checks import Secret
from worker.store import Database, OrderSearch, StoreInspector
from worker.stream import Presence, RedisLink, RedisNames, StreamInspector

CHECK_CONNECTIONS = 2
PAGE_CONNECTIONS = 2
# Somebody waits for a page.
LONGEST_STATEMENT_S = 5.0
# Counted each second while somebody looks.
MOST_LETTERS_OF_A_PAGE, MOST_LETTER_BYTES_OF_A_PAGE = 1000, 1_048_576
SHOWN_OF_A_LETTER = Sizes(fields=100, characters=4000)


class Places(Struct, frozen=True):
    """Where both servers are: whoever shares a place leaves it together.

    Once the loop has left a server that takes no writes any more, pages are not to show what is there.
    """

    redis: Endpoint
    database: Endpoint

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        """Return the places that settings name."""
        return cls(redis_place(settings), database_place(settings))

    def departures(self) -> Mapping[str, int]:
        """Return how often each place was left."""
        return {"redis": self.redis.departures, "postgresql": self.database.departures}


@contextmanager
def face(
    settings: Settings,
    names: RedisNames,
    places: Places,
    vitals: ReplicaVitals,
    *,
    shown: bool,
) -> Iterator[tuple[Checks, HttpServer]]:
    """Open the port; where it is to be shown, answer from now on. Raises ConfigurationError."""
    with ExitStack() as used:
        link = used.enter_context(redis_link(settings, "checks", places.redis))
        opened = used.enter_context(database(settings, "checks", CHECK_CONNECTIONS, places.database))
        store, history = StoreInspector(opened, settings.fleet), History()
        checks = _checks(settings, names, link, opened, store, vitals, history)
        identity = Identity(
            version=__version__, mode=settings.executor, consumer=names.consumer, group=names.group
        )
        stale_after_s = (settings.lease_ms + settings.block_ms) / 1000
        hiding = hiding_of(settings)
        views = Views(
            identity, vitals, checks, stale_after_s=stale_after_s,
            recent_orders=lambda limit: shown_orders(store.recent(limit), hiding),
            meant=Meant(eviction=settings.allow_eviction, volatile=settings.allow_volatile),
        )  # fmt: skip
        pages = None
        if settings.pages:
            pages = _pages(settings, names, places, identity, views, history, used)
        server = HttpServer(front(views, pages), host=settings.health_host, port=settings.health_port)
        used.callback(server.stop)
        used.callback(checks.stop)
        if shown:
            checks.start()
            server.start()
        yield checks, server


def _checks(
    settings: Settings,
    names: RedisNames,
    link: RedisLink,
    opened: Database,
    store: StoreInspector,
    vitals: ReplicaVitals,
    history: History,
) -> Checks:
    asking = Asking(
        link, names, StreamInspector(link, names), store, opened,
        idle_s=lambda: vitals.idle_s, idle_check_s=settings.idle_check_s,
    )  # fmt: skip
    ask_redis, ask_database = telling_of_redis(asking.redis), telling_of_database(asking.database)
    announce = Announcing(Presence(link, names), vitals, executor=settings.executor)

    def redis() -> StreamState:
        announce.tell()
        found = ask_redis()
        history.note_streams(found)
        return found

    def tables() -> DatabaseState:
        found = ask_database()
        history.note_tables(found)
        return found

    return Checks(
        Check("redis", redis),
        Check("database", tables, pace_s=asking.pace_s, newest=asking.newest),
    )


def _pages(
    settings: Settings,
    names: RedisNames,
    places: Places,
    identity: Identity,
    views: Views,
    history: History,
    used: ExitStack,
) -> WSGIApplication:
    # Who has switched pages off need not have what makes them in memory.
    from worker.ops.pages import Access, Face, pages  # noqa: PLC0415

    # Pages wait for servers of their own accord: neither checks nor the loop wait for them.
    link = used.enter_context(redis_link(settings, "pages", places.redis))
    limit_s = min(LONGEST_STATEMENT_S, settings.transaction_timeout_s)
    patient = replace(settings, transaction_timeout_s=limit_s)
    opened = used.enter_context(database(patient, "pages", PAGE_CONNECTIONS, places.database))
    servers = Servers(
        settings, names, link, opened,
        most_letters=MOST_LETTERS_OF_A_PAGE, most_letter_bytes=MOST_LETTER_BYTES_OF_A_PAGE,
    )  # fmt: skip
    fleet = Watch(servers.snapshot)
    used.callback(fleet.end)
    access = Access(_text(settings.read_token), _text(settings.admin_token))
    orders = OrderDesk(Narrator(witnesses_of(settings, link, opened)), OrderSearch(opened, settings.fleet))
    letters = desk_of(settings, link, opened, sizes=SHOWN_OF_A_LETTER)
    face = Face(identity, views, access, fleet.look, history, orders=orders, letters=letters)
    made: WSGIApplication = pages(face)
    return made


def _text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
