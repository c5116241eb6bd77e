"""One HTTP thread: waitress reads and writes, an application knows what to say."""

import time
from contextlib import suppress
from ipaddress import AddressValueError, IPv6Address
from threading import Thread
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.trigger import trigger
from waitress.wasyncore import close_all

from worker.domain.errors import ConfigurationError
from worker.ops.front import Application

IDLE_CLIENT_TIMEOUT_S = 5
# More than scrape at once: a client that keeps its connection open holds it until it has been idle for too
# long.
MOST_CONNECTIONS = 256
MOST_HEADER_BYTES = 16_384
ANY_IPV6, ANY_IPV4 = "::", "0.0.0.0"  # noqa: S104  where somebody has asked for it
# More than may wait for a server at a time, so that there is always one to tell of health.
THREADS = 8


class _Channel(HTTPChannel):
    """A connection on which only answers count as activity.

    For waitress any byte does, so a client that sends one a second could stay for ever.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401  handed on as they are
        super().__init__(*arguments, **options)
        self._answered_at: float = self.creation_time

    def received(self, data: bytes) -> bool:
        # Before the request is handed over: from then on the thread that answers sets the time.
        self.last_activity = self._answered_at
        try:
            return bool(super().received(data))
        except (ValueError, ParsingError):
            # A URL that the library can't take apart, like http://[::1/, or headers that are too long, with a
            # length that is none. It would log where in its code that was.
            self.handle_close()
            return False

    def send_continue(self) -> None:
        """Have a client go on that asked to; one that has sent all would be waited for, and get no answer."""
        request: Any = self.request
        if request.completed:
            request.expect_continue = False
        else:
            super().send_continue()

    def service(self) -> None:
        self._answered_at = time.time()
        super().service()


def host_and_port(host: str, port: int) -> str:
    """Return both as URLs have them."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _listening(host: str, port: int) -> dict[str, Any]:
    """Return what to listen on, for waitress: of any address in IPv6 any in IPv4 is meant, too."""
    try:
        # It has many spellings, such as ::0.
        is_any = IPv6Address(host.strip("[]")) == IPv6Address(ANY_IPV6)
    except AddressValueError:
        is_any = False
    if not is_any:
        return {"host": host, "port": port}
    return {"listen": " ".join(host_and_port(each, port) for each in (ANY_IPV6, ANY_IPV4))}


class HttpServer:
    """Serves an application. Raises ConfigurationError where the address can't be listened on."""

    def __init__(self, application: Application, *, host: str, port: int) -> None:
        self.port = port
        self._is_stopped = False
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                application,
                map=self._sockets,
                threads=THREADS,
                ident=None,
                connection_limit=MOST_CONNECTIONS,
                channel_timeout=IDLE_CLIENT_TIMEOUT_S,
                cleanup_interval=1,
                max_request_header_size=MOST_HEADER_BYTES,
                max_request_body_size=MOST_HEADER_BYTES,
                asyncore_use_poll=True,
                expose_tracebacks=False,
                clear_untrusted_proxy_headers=True,
                **_listening(host, port),
            )
        except (OSError, ValueError) as error:
            close_all(self._sockets)
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(
                f"WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: can't listen on {host_and_port(host, port)}: {why}"
            ) from None
        for listening in self._sockets.values():
            if isinstance(listening, BaseWSGIServer):
                listening.channel_class = _Channel
        self._thread = Thread(target=self._server.run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to answer, unless that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Answer no more; asked again, do nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        if self._thread.is_alive():
            # Closing sockets under the loop that selects on them would end it with an error.
            loop = next(each for each in self._sockets.values() if isinstance(each, trigger))
            # Woken by a page that was done, it may have closed them before it is woken here.
            with suppress(OSError):
                loop.pull_trigger(self._close)
            self._thread.join(timeout=1)
        else:
            self._close()

    def _close(self, _woken: object = None) -> None:
        close_all(self._sockets, ignore_all=True)
        self._server.task_dispatcher.shutdown(timeout=1)
