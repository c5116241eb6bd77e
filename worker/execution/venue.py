"""Executes at a trading venue over HTTP: sends an order once, and asks what became of it if that is unclear.

The venue's side of the contract is in docs/write-an-executor.md.
"""

import ssl
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential

from worker.domain.endpoints import Endpoint
from worker.domain.errors import VenueUnavailable
from worker.domain.orders import Execution, Order, Status
from worker.execution.answers import MalformedAnswer, order_text, read_execution, read_reason

# Of the time an execution may take. All of them together end before the worker's own deadline ends the
# process: an answer is waited for as long as can be, for one that comes late the next delivery asks.
READ_SHARE, CONNECT_SHARE, WRITE_SHARE, WHOLE_SHARE = 0.8, 1 / 16, 1 / 50, 0.97
FIND_ATTEMPTS = 3
FIRST_WAIT_S = 0.05
LONGEST_ANSWER = 1 << 20

# By the contract nothing was accepted; wrong credentials are no order's fault either.
_AWAY = frozenset(
    {
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    }
)
_ACCEPTED = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
# What is in conflict or came late may have been accepted the first time.
_UNCLEAR = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
_CLIENT_ERRORS = range(400, 500)
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class OutcomeUnknown(Exception):
    """The order may or may not have reached the venue; what was asked since does not settle it."""


class _Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


class VenueExecutor:
    """Sends each order by POST with its order id as idempotency key; `find` asks by GET.

    Only `find` is ever repeated. Not for several threads at once.
    """

    pure = False

    def __init__(self, place: Endpoint | str, *, timeout_s: float) -> None:
        endpoint = place if isinstance(place, Endpoint) else Endpoint.fixed(place)
        parts = urlsplit(endpoint.url())
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            # Without the credentials: the library logs the URL of every request.
            base_url=urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])),
            auth=_CredentialsOfNow(endpoint),
            # No proxy from the environment: what a proxy answers says nothing of what the venue accepted.
            trust_env=False,
            verify=ssl.create_default_context(),
        )

    def execute(self, order: Order) -> Execution:
        """Send an order to the venue.

        Raises VenueUnavailable where the venue did not take it, OutcomeUnknown where that is unclear.
        """
        began = time.monotonic()
        try:
            answer = self._request(
                "POST",
                "orders",
                began,
                content=order_text(order),
                headers={"Idempotency-Key": order.order_id, "Content-Type": "application/json"},
            )
        except _NOTHING_SENT as error:
            raise VenueUnavailable(_said(error)) from error
        except httpx.HTTPError as error:
            return self._found_out(order, _said(error), began)
        if answer.status in _AWAY:
            raise VenueUnavailable(f"answered {answer.status}")
        if answer.status in _ACCEPTED:
            return read_execution(answer.body, order.order_id)
        if answer.status in _CLIENT_ERRORS and answer.status not in _UNCLEAR:
            return Execution(Status.REJECTED, error_message=read_reason(answer.body, answer.status))
        return self._found_out(order, f"answered {answer.status}", began)

    def find(self, order_id: str) -> Execution | None:
        """Return what became of an order, None where the venue doesn't know it. Raises VenueUnavailable."""
        return self._find(order_id, time.monotonic())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _found_out(self, order: Order, why: str, began: float) -> Execution:
        if self._left_s(began) <= 0:
            raise OutcomeUnknown(f"{why}; no time was left to ask for the order")
        try:
            found = self._find(order.order_id, began)
        except VenueUnavailable as unavailable:
            raise OutcomeUnknown(f"{why}; then asked for the order: {unavailable.reason}") from unavailable
        if found is None:
            # It may still be on its way: the next delivery asks again before it sends.
            raise OutcomeUnknown(f"{why}; the venue does not know the order yet")
        return found

    def _left_s(self, began: float) -> float:
        """Return how long an answer may still be waited for by what began then."""
        return began + self._timeout_s * READ_SHARE - time.monotonic()

    def _find(self, order_id: str, began: float) -> Execution | None:
        within_s = self._left_s(began)
        asking = Retrying(
            retry=retry_if_exception_type(VenueUnavailable),
            stop=stop_after_attempt(FIND_ATTEMPTS) | stop_after_delay(within_s / 2),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=within_s / 8),
            reraise=True,
        )
        return asking(lambda: self._ask(order_id, began))

    def _ask(self, order_id: str, began: float) -> Execution | None:
        try:
            answer = self._request("GET", f"orders/{quote(order_id, safe='')}", began)
        except httpx.HTTPError as error:
            raise VenueUnavailable(_said(error)) from error
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status == HTTPStatus.OK:
            return read_execution(answer.body, order_id)
        if answer.status in _AWAY or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise VenueUnavailable(f"answered {answer.status} when asked for an order")
        raise MalformedAnswer(f"answered {answer.status} when asked for order {order_id}")

    def _request(
        self,
        method: str,
        path: str,
        began: float,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> _Answer:
        timeout = httpx.Timeout(
            self._timeout_s * CONNECT_SHARE,
            read=max(self._left_s(began), 0.001),
            write=self._timeout_s * WRITE_SHARE,
        )
        request = self._client.stream(method, path, content=content, headers=headers, timeout=timeout)
        with _as_http_errors(), request as response:
            # The body may wait for one half of what is left, and go on dripping for the other.
            half_s = max((began + self._timeout_s * WHOLE_SHARE - time.monotonic()) / 2, 0.001)
            response.request.extensions["timeout"]["read"] = half_s
            deadline = time.monotonic() + half_s
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer takes too long")
                if len(body) > LONGEST_ANSWER:
                    raise MalformedAnswer(f"the answer is longer than {LONGEST_ANSWER} bytes")
        return _Answer(response.status_code, body)


class _CredentialsOfNow(httpx.Auth):
    """User and password from the URL as it is at each request, and no other part of it.

    Another venue would not know what this one was sent: that takes a restart, after a drain.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Name ourselves, where the URL does."""
        parts = urlsplit(self._endpoint.url())
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if user or password:
            yield from httpx.BasicAuth(user, password).auth_flow(request)
        else:
            yield request


@contextmanager
def _as_http_errors() -> Iterator[None]:
    try:
        yield
    except (httpx.StreamError, httpx.InvalidURL) as error:
        raise httpx.HTTPError(str(error)) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
