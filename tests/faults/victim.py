"""A worker that comes to grief at one chosen point: killed, failing, hanging, stopped, slow, asked to leave.

Run as `python -m tests.faults.victim POINT WAY [N [COMMAND ...]]`, with the settings of a worker in its
environment. It acts the first (or n-th) time the point is reached, and says so on standard error. It is a
worker, unless a command of the command line is given.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import httpx
import psycopg
import redis
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event

from worker.bootstrap.parts.signals import call_when_asked_to_leave
from worker.bootstrap.replica import replica
from worker.cli import main as command_line
from worker.consumer import Drain, retention
from worker.domain.deliveries import ClaimedPage, Delivery, Settlement, Settling
from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import Execution, Order, OrderRecord, Status
from worker.ops import configure_logs
from worker.repair import own_repair
from worker.settings import Settings, read_settings
from worker.stream import DeadLetters, Mending
from worker.wire import Decoder

REACHED = "crash point reached"
THIEF = "thief"
Cut = Callable[[], None]


class Saboteur:
    """Does to this process what was asked for, once."""

    def __init__(self, point: str, way: str, turn: int = 1, *, slow_s: float = 1.0) -> None:
        self.point = point
        self.way = way
        self.turn = turn
        self.slow_s = slow_s
        # A start rehearses its scripts: that is not the life of an order.
        self.is_armed = True
        self.drain: Drain | None = None
        self.writer: int | None = None
        self.exhausted: set[str] = set()

    def at(self, point: str, server: str = "redis", cut: Cut | None = None) -> None:
        """Act where this is the point. An outage cuts the connection where there is a way, else is raised."""
        if point != self.point or not self.is_armed:
            return
        self.turn -= 1
        if self.turn != 0:
            return
        sys.stderr.write(f"{REACHED}: {point}\n")
        sys.stderr.flush()
        self._act(point, server, cut)

    def _act(self, point: str, server: str, cut: Cut | None) -> None:
        match self.way:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                time.sleep(3600)
            case "slow":
                time.sleep(self.slow_s)
            case "raise":
                raise RuntimeError(f"planted {point}")
            case "outage" if cut is not None:
                cut()
            case "outage":
                raise Outage(server, f"planted {point}")
            case "leave":
                self.ask_to_leave(lambda drain: drain.requested)
            case "leave at once":
                self.ask_to_leave(lambda drain: drain.requested)
                self.ask_to_leave(lambda drain: drain.hurried)
            case _:
                raise ValueError(self.way)

    def ask_to_leave(self, heard: Callable[[Drain], bool]) -> None:
        """Send this process a signal, and return once it is heard."""
        os.kill(os.getpid(), signal.SIGTERM)
        while self.drain is not None and not heard(self.drain):
            time.sleep(0.001)


class Passing:
    """Passes everything on to the real port."""

    def __init__(self, inner: Any, saboteur: Saboteur) -> None:
        self._inner = inner
        self._saboteur = saboteur

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Stream(Passing):
    def __init__(self, inner: Any, saboteur: Saboteur, settings: Settings) -> None:
        super().__init__(inner, saboteur)
        self._settings = settings

    def read(self, count: int, block_ms: int) -> list[Delivery]:
        self._saboteur.at("before read")
        found: list[Delivery] = self._inner.read(count, block_ms)
        if found and self._saboteur.point == "in drain":
            # Between taking and beginning: what was taken must be handed back.
            self._saboteur.ask_to_leave(lambda drain: drain.requested)
        if found:
            self._saboteur.at("read done, reply lost")
            self._saboteur.at("after read")
        return found

    def read_ahead(self, count: int) -> None:
        self._saboteur.at("read ahead sent, never arrived")
        self._inner.read_ahead(count)

    def arrived(self) -> list[Delivery]:
        found: list[Delivery] = self._inner.arrived()
        if found:
            self._saboteur.at("read ahead done, reply lost")
        return found

    def settle(self, settlements: Sequence[Settlement], **named: Any) -> Settling:
        buries = any(each.action == "bury" for each in settlements)
        if self._saboteur.point == "script cache empty":
            redis.Redis.from_url(self._settings.redis_url.get_secret_value()).script_flush()
            self._saboteur.at("script cache empty")
        self._saboteur.at("settle sent, never arrived")
        if buries:
            self._saboteur.at("before the dead letter script")
        settled: Settling = self._inner.settle(settlements, **named)
        self._saboteur.at("settle done, reply lost")
        if buries:
            self._saboteur.at("dead letter done, reply lost")
        return settled

    def release(self, counts: dict[str, int]) -> None:
        self._saboteur.at("in drain")
        self._inner.release(counts)

    def claim(self, cursor: str, count: int) -> ClaimedPage:
        page: ClaimedPage = self._inner.claim(cursor, count)
        most = self._settings.max_deliveries
        self._saboteur.exhausted |= {each.entry_id for each in page.deliveries if each.count >= most}
        if page.deliveries:
            self._saboteur.at("in claim")
        return page

    def charge(self, counts: dict[str, int]) -> Any:
        self._saboteur.at("before charge")
        lost = self._inner.charge(counts)
        self._saboteur.at("after charge")
        return lost

    def fetch(self, charges: Mapping[str, int | None], **named: Any) -> Any:
        # What was claimed is charged as it is brought.
        self._saboteur.at("before charge")
        fetched = self._inner.fetch(charges, **named)
        self._saboteur.at("after charge")
        return fetched

    def renew(self, entry_ids: Collection[str]) -> list[str]:
        self._saboteur.at("renewal lost")
        lost: list[str] = self._inner.renew(entry_ids)
        self._saboteur.at("renewal done, reply lost")
        if lost:
            self._saboteur.at("renewal after the lease is lost")
        return lost

    def remove_dead(self, idle_ms: int) -> list[str]:
        self._saboteur.at("before consumer removal")
        removed: list[str] = self._inner.remove_dead(idle_ms)
        self._saboteur.at("after consumer removal")
        return removed


class Store(Passing):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        self._saboteur.writer = get_ident()
        try:
            standing: list[OrderRecord] = self._inner.record(records)
        except RowRefused:
            self._saboteur.at("one bad row in a batch", "postgresql")
            raise
        finally:
            self._saboteur.writer = None
        self._saboteur.at("after COMMIT", "postgresql")
        if any(record.status is Status.DEAD for record in records):
            self._saboteur.at("DEAD row committed, letter not yet written", "postgresql")
        if any(record.status is Status.SUBMITTED for record in records):
            self._saboteur.at("after intent", "postgresql")
        return standing

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        self._saboteur.at("before outcome", "postgresql")
        standing: list[OrderRecord] = self._inner.resolve(records)
        self._saboteur.at("after outcome", "postgresql")
        return standing

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        found: dict[str, OrderRecord] = self._inner.find(entry_ids)
        if self._saboteur.exhausted & found.keys():
            self._saboteur.at("count over the limit but the order is committed", "postgresql")
        return found


class Executor(Passing):
    def __init__(self, inner: Any, saboteur: Saboteur, settings: Settings) -> None:
        super().__init__(inner, saboteur)
        self._settings = settings
        self._is_first = True

    def execute(self, order: Order) -> Execution:
        self._saboteur.at("in execute", "venue")
        if self._is_first and self._saboteur.point.startswith("renewal"):
            if self._saboteur.point == "renewal after the lease is lost":
                steal_everything(self._settings)
            # Long enough for two renewals.
            time.sleep(self._settings.lease_ms / 2000)
        self._is_first = False
        execution: Execution = self._inner.execute(order)
        self._saboteur.at("after answer", "venue")
        return execution


def steal_everything(settings: Settings) -> None:
    """Let somebody else hold all that is pending, as if each lease had run out."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        pending: Any = client.xpending_range(settings.orders_stream, settings.group, "-", "+", 1000)
        ids = [each["message_id"] for each in pending]
        client.xclaim(settings.orders_stream, settings.group, THIEF, 0, ids, justid=True)


BETWEEN = {"INSERT INTO trades": "between the inserts", "COPY trades": "between the copies"}


def _watch_inserts(saboteur: Saboteur) -> None:
    def before(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        for beginning, point in BETWEEN.items():
            if statement.startswith(beginning):
                saboteur.at(point, "postgresql", connection.connection.driver_connection.pgconn.finish)

    event.listen(Engine, "before_cursor_execute", before)


def _watch_copies(saboteur: Saboteur) -> None:
    # A statement whose rows are on their way: the server awaits the rest, and no timeout of its own ends
    # that.
    write = psycopg.Copy.write

    def watched(copy: psycopg.Copy, rows: Any) -> None:
        half = len(rows) // 2
        write(copy, rows[:half])
        saboteur.at("half of the rows copied", "postgresql", copy.connection.pgconn.finish)
        write(copy, rows[half:])

    psycopg.Copy.write = watched  # type: ignore[method-assign,assignment]


def _watch_commits(saboteur: Saboteur) -> None:
    # The commit is the one step that no port shows. Where rows are written it goes with the last statement.
    commit, execute = psycopg.Connection.commit, psycopg.Cursor.execute

    def committing(connection: psycopg.Connection[Any]) -> None:
        _commit(saboteur, connection, "COMMIT", lambda: commit(connection))

    def executing(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **options: Any) -> Any:
        def as_ever() -> Any:
            return execute(cursor, query, *args, **options)

        if not str(query).endswith("; COMMIT"):
            return as_ever()
        return _commit(saboteur, cursor.connection, query, as_ever)

    psycopg.Connection.commit = committing  # type: ignore[method-assign,assignment]
    psycopg.Cursor.execute = executing  # type: ignore[method-assign,assignment]


def _commit(
    saboteur: Saboteur, connection: psycopg.Connection[Any], query: str, as_ever: Callable[[], Any]
) -> Any:
    # Pages and checks have transactions of their own meanwhile, and what is committed already is not
    # committed again.
    if saboteur.writer != get_ident() or connection.info.transaction_status is TransactionStatus.IDLE:
        return as_ever()
    saboteur.at("before COMMIT", "postgresql", connection.pgconn.finish)
    if saboteur.point == "COMMIT sent, connection dies":
        connection.pgconn.send_query(query.encode())
        connection.pgconn.flush()
        saboteur.at("COMMIT sent, connection dies", "postgresql", connection.pgconn.finish)
        while not connection.closed and connection.pgconn.get_result():
            pass
    done = as_ever()
    saboteur.at("COMMIT done, reply lost", "postgresql", partial(_lose_reply, connection))
    return done


def _lose_reply(connection: psycopg.Connection[Any]) -> None:
    connection.pgconn.finish()
    raise psycopg.OperationalError("planted: the reply to COMMIT is lost")


def _watch_sends(saboteur: Saboteur) -> None:
    # Between the last byte of a request and the first of its answer no code of ours runs, but for this.
    send = httpx.Client.send

    def traced(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        def at(event_name: str, _info: Any) -> None:
            if request.method == "POST" and event_name == "http11.send_request_body.complete":
                saboteur.at("after send", "venue")

        request.extensions = {**request.extensions, "trace": at}
        return send(client, request, **options)

    httpx.Client.send = traced  # type: ignore[method-assign,assignment]


def _watch_calls(saboteur: Saboteur) -> None:
    """Watch what no wrapper of a port sees: the decoder, the repair, and the replay of a dead letter."""
    for owner, name, before, after in (
        (Decoder, "decode", "in decode", ""),
        (Mending, "restore", "before a repair's script", "after a repair's script"),
        (DeadLetters, "replay", "before a replay's script", "after a replay's script"),
    ):
        setattr(owner, name, _watched(getattr(owner, name), saboteur, before, after))


def _watched(call: Callable[..., Any], saboteur: Saboteur, before: str, after: str) -> Callable[..., Any]:
    def watched(*arguments: Any, **options: Any) -> Any:
        saboteur.at(before)
        answer = call(*arguments, **options)
        saboteur.at(after)
        return answer

    return watched


def _hasten(point: str) -> None:
    """Let happen within one small run what takes minutes, or thousands of rows."""
    if "repair" in point:
        own_repair.PAGE = 2
    if "consumer removal" in point:
        retention.DEAD_AFTER_LEASES = retention.DEAD_AFTER_AT_LEAST_S = 0


def watch(saboteur: Saboteur) -> None:
    """Stand at every point that is not a call of a port."""
    _watch_inserts(saboteur)
    _watch_copies(saboteur)
    _watch_commits(saboteur)
    _watch_sends(saboteur)
    _watch_calls(saboteur)
    _hasten(saboteur.point)


def main(point: str, way: str, turn: int = 1, *, environment: Mapping[str, str] = os.environ) -> None:
    """Run the worker of the environment until the point is reached, or a signal comes."""
    settings = read_settings(environment)
    saboteur = Saboteur(point, way, turn, slow_s=1.5 * settings.lease_ms / 1000)
    saboteur.is_armed = False
    watch(saboteur)
    configure_logs(level="INFO", form="json")
    with replica(
        settings,
        # Whatever is there is in hand when it happens.
        first_count=settings.batch_size,
        wrap_stream=lambda inner: Stream(inner, saboteur, settings),
        wrap_store=lambda inner: Store(inner, saboteur),
        wrap_executor=lambda inner: Executor(inner, saboteur, settings),
    ) as victim:
        saboteur.drain = victim.drain
        call_when_asked_to_leave(victim.drain.request)
        saboteur.is_armed = True
        victim.run()


def run(arguments: Sequence[str]) -> None:
    """Do what the arguments of the command line say."""
    point, way, turn, *command = [*arguments, "1"] if len(arguments) == 2 else arguments
    if command:
        watch(Saboteur(point, way, int(turn)))
        command_line(command)
    else:
        main(point, way, int(turn))


if __name__ == "__main__":
    run(sys.argv[1:])
