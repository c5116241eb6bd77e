"""A worker process whose ports stop it at one chosen point: killed, failing, hanging or stopped.

Run as `python -m tests.faults.victim POINT WAY [N]`, with the settings of a worker in its environment. It acts
the first (or n-th) time the point is reached, and says so on standard error.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy import Engine, event

from worker.bootstrap import replica
from worker.domain.deliveries import Delivery, Settlement, Settling
from worker.domain.errors import Outage
from worker.domain.orders import Execution, Order, OrderRecord, Status
from worker.ops import configure_logs
from worker.settings import read_settings

REACHED = "crash point reached"


class Saboteur:
    """Does to this process what was asked for, once."""

    def __init__(self, point: str, way: str, turn: int = 1) -> None:
        self.point = point
        self.way = way
        self.turn = turn

    def at(self, point: str) -> None:
        if point != self.point:
            return
        self.turn -= 1
        if self.turn != 0:
            return
        sys.stderr.write(f"{REACHED}: {point}\n")
        sys.stderr.flush()
        match self.way:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                time.sleep(3600)
            case "outage":
                raise Outage("redis", f"planted {point}")
            case _:
                raise ValueError(self.way)


class Passing:
    """Passes everything on to the real port."""

    def __init__(self, inner: Any, saboteur: Saboteur) -> None:
        self._inner = inner
        self._saboteur = saboteur

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Stream(Passing):
    def read(self, count: int, block_ms: int) -> list[Delivery]:
        self._saboteur.at("before read")
        found: list[Delivery] = self._inner.read(count, block_ms)
        if found and self._saboteur.point == "in drain":
            # Between taking and beginning: what was taken must be handed back.
            signal.raise_signal(signal.SIGTERM)
        if found:
            self._saboteur.at("read done, reply lost")
            self._saboteur.at("after read")
        return found

    def settle(self, settlements: Sequence[Settlement]) -> Settling:
        self._saboteur.at("settle sent, never arrived")
        settled: Settling = self._inner.settle(settlements)
        self._saboteur.at("settle done, reply lost")
        return settled

    def release(self, counts: dict[str, int]) -> None:
        self._saboteur.at("in drain")
        self._inner.release(counts)

    def claim(self, cursor: str, count: int) -> Any:
        page = self._inner.claim(cursor, count)
        if page.deliveries:
            self._saboteur.at("in claim")
        return page

    def charge(self, counts: dict[str, int]) -> Any:
        lost = self._inner.charge(counts)
        self._saboteur.at("after charge")
        return lost


class Store(Passing):
    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        standing: list[OrderRecord] = self._inner.record(records)
        self._saboteur.at("after COMMIT")
        if any(record.status is Status.SUBMITTED for record in records):
            self._saboteur.at("after intent")
        return standing

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        self._saboteur.at("before outcome")
        standing: list[OrderRecord] = self._inner.resolve(records)
        self._saboteur.at("after outcome")
        return standing


class Executor(Passing):
    def execute(self, order: Order) -> Execution:
        self._saboteur.at("in execute")
        execution: Execution = self._inner.execute(order)
        self._saboteur.at("after answer")
        return execution


def _watch_commit(saboteur: Saboteur) -> None:
    # The commit is the one step between two statements that no port shows.
    def before_commit(connection: Any) -> None:
        if connection.info.get("writes"):
            saboteur.at("before COMMIT")

    def note_writes(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO orders"):
            connection.info["writes"] = True
        elif statement.startswith("INSERT INTO trades"):
            saboteur.at("between the inserts")

    event.listen(Engine, "commit", before_commit)
    event.listen(Engine, "before_cursor_execute", note_writes)


def _watch_sends(saboteur: Saboteur) -> None:
    # Between the last byte of a request and the first of its answer no code of ours runs, but for this.
    send = httpx.Client.send

    def traced(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        def at(event_name: str, _info: Any) -> None:
            if request.method == "POST" and event_name == "http11.send_request_body.complete":
                saboteur.at("after send")

        request.extensions = {**request.extensions, "trace": at}
        return send(client, request, **options)

    httpx.Client.send = traced  # type: ignore[method-assign,assignment]


def main(point: str, way: str, turn: int = 1, *, environment: Mapping[str, str] = os.environ) -> None:
    """Run the worker of the environment until the point is reached, or a signal comes."""
    saboteur = Saboteur(point, way, turn)

    def wrap(kind: type[Passing]) -> Callable[[Any], Any]:
        return lambda inner: kind(inner, saboteur)

    _watch_commit(saboteur)
    _watch_sends(saboteur)
    configure_logs(level="INFO", form="json")
    with replica(
        read_settings(environment),
        wrap_stream=wrap(Stream),
        wrap_store=wrap(Store),
        wrap_executor=wrap(Executor),
    ) as victim:
        signal.signal(signal.SIGTERM, lambda *_: victim.drain.request())
        victim.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
