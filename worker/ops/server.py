"""One HTTP thread: it reads and answers, and no client can keep it from the next one."""

import asyncio
import os
from asyncio import StreamReader, StreamWriter, Task
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from http import HTTPStatus
from ipaddress import AddressValueError, IPv6Address
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from threading import Thread
from typing import Any, cast
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11
import structlog

from worker.domain.errors import ConfigurationError
from worker.ops.conversation import (
    MOST_HEADER_BYTES,
    Answer,
    Conversation,
    answer_of,
    refusal,
)
from worker.ops.views import AT_ONCE

log = structlog.get_logger(__name__)

# How long a client may take for a request, and for reading its answer; how long a request waits for a thread.
PATIENCE_S = 5
# More than scrape at once: a client that keeps its connection open holds it until it has been idle for too
# long, or another needs it.
MOST_CONNECTIONS = 256
BUFFER_BYTES = 32_768
# Requests that ask a server, each in a thread. What is answered at once needs none, so it never waits for
# them.
MOST_ASKING = 8
ANY_IPV6, ANY_IPV4 = "::", "0.0.0.0"  # noqa: S104  where somebody has asked for it


def host_and_port(host: str, port: int) -> str:
    """Return both as URLs have them."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _addresses(host: str) -> list[str]:
    """Return what to listen on: of any address in IPv6 any in IPv4 is meant, too."""
    bare = host.strip("[]")
    try:
        # It has many spellings, such as ::0.
        is_any = IPv6Address(bare) == IPv6Address(ANY_IPV6)
    except AddressValueError:
        is_any = False
    return [ANY_IPV6, ANY_IPV4] if is_any else [bare]


class HttpServer:
    """Serves an application. Raises ConfigurationError where the address can't be listened on."""

    def __init__(self, application: WSGIApplication, *, host: str, port: int) -> None:
        self.port = port
        self.application = application
        self._stopping = asyncio.Event()
        self._asking = asyncio.Semaphore(MOST_ASKING)
        self._clients: dict[Task[Any], None] = {}
        # Those of whom no whole request is here, the one that has kept the server waiting longest first.
        self._awaited: dict[Task[Any], None] = {}
        self._loop = asyncio.new_event_loop()
        listening = asyncio.start_server(
            self._serve, _addresses(host), port, limit=MOST_HEADER_BYTES, backlog=MOST_CONNECTIONS
        )
        try:
            self._listening = self._loop.run_until_complete(listening)
        except (OSError, ValueError) as failed:
            self._loop.close()
            number = getattr(failed, "errno", None) or 0
            why = os.strerror(number) if number > 0 else getattr(failed, "strerror", None) or str(failed)
            raise ConfigurationError(
                f"WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: can't listen on {host_and_port(host, port)}: {why}"
            ) from None
        for each in self._listening.sockets:
            # Connections inherit these. Else the system takes megabytes for each, and the loop all that came.
            each.setsockopt(SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES)
            each.setsockopt(SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES)
        self._thread = Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer, unless that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Answer no more; asked again, do nothing."""
        if self._loop.is_closed():
            return
        if self._thread.ident is None:
            self._stopping.set()
            self._run()
        # By now the loop may have been closed.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def _run(self) -> None:
        with closing(self._loop):
            self._loop.run_until_complete(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        self._listening.close()
        us = asyncio.current_task()
        # Also those that were let in and have not begun: these end by themselves.
        while others := asyncio.all_tasks() - {us}:
            for client in list(self._clients):
                client.cancel()
            await asyncio.wait(others, timeout=0.05)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = cast("Task[Any]", asyncio.current_task())
        if self._stopping.is_set():
            writer.transport.abort()
            return
        if len(self._clients) >= MOST_CONNECTIONS:
            # Clients that say nothing make room first, then whoever has been here for longest.
            oldest = next(iter(self._awaited), None) or next(iter(self._clients))
            self._awaited.pop(oldest, None)
            self._clients.pop(oldest, None)
            oldest.cancel()
        self._clients[client] = None
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._talk(client, Conversation(reader, writer))
        finally:
            self._clients.pop(client, None)
            # Whatever was to be sent has been, or nobody takes it.
            writer.transport.abort()

    async def _talk(self, client: Task[Any], conversation: Conversation) -> None:
        try:
            while (environ := await self._request(client, conversation)) is not None:
                answer = await self._answered(environ)
                async with asyncio.timeout(PATIENCE_S):
                    await conversation.say(answer)
                # A client that has sent a thousand requests at once waits for its turn, as the others do.
                await asyncio.sleep(0)
        except h11.RemoteProtocolError as refused:
            async with asyncio.timeout(PATIENCE_S):
                await conversation.say(refusal(HTTPStatus(refused.error_status_hint)))

    async def _request(self, client: Task[Any], conversation: Conversation) -> WSGIEnvironment | None:
        self._awaited[client] = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await conversation.request()
        finally:
            self._awaited.pop(client, None)

    async def _answered(self, environ: WSGIEnvironment) -> Answer:
        answering = partial(_answer_of, self.application, environ)
        if environ["PATH_INFO"] in AT_ONCE:
            return answering()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._asking.acquire()
        except TimeoutError:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            asked = _aside(answering)
        except BaseException:
            self._asking.release()
            raise
        # Its thread goes on where its client is let go: the place is free when that has ended.
        asked.add_done_callback(lambda _: self._asking.release())
        return await asyncio.shield(asked)


def _answer_of(application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    try:
        return answer_of(application, environ)
    except Exception:
        log.exception("page failed")
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR)


def _aside(answering: Callable[[], Answer]) -> asyncio.Future[Answer]:
    """Do this in a thread of its own. A process that ends does not wait for it, as it would for a pool's."""
    done: Future[Answer] = Future()
    done.set_running_or_notify_cancel()
    Thread(target=lambda: done.set_result(answering()), name="page", daemon=True).start()
    return asyncio.wrap_future(done)
