"""What programs are shown: what each view says, and with which status."""

import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
import structlog
from msgspec import Struct

from worker.domain.errors import Outage, Refused
from worker.domain.times import utc_text
from worker.ops.health import Checks, LastAnswer, Vitals
from worker.ops.metrics import CONTENT_TYPE, NOTHING_MEANT, Meant, Told, exposition
from worker.status import Document, document_of_database, document_of_streams, printed

log = structlog.get_logger(__name__)

SERVICE = "execution-worker"
ORDERS_LIMIT = 100
DEFAULT_ORDERS_LIMIT = 20
# They ask no server while somebody waits.
AT_ONCE = frozenset({"/health", "/ready", "/status", "/metrics"})
_JSON = "application/json"
_Told = TypeVar("_Told")
# What is not counted in orders.
_STATS = {
    name: name
    for name in (
        "batches",
        "outages",
        "unknown_fields",
        "dropped_labels",
        "malformed_traceparents",
        "unreadable_timestamps",
        "unpublished_results",
        "released",
        "leases_lost",
    )
} | {"unexpected": "unexpected_errors"}


class Page(Struct, frozen=True):
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = _JSON

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What is said of the body."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
        ]


def fault(status: HTTPStatus) -> Page:
    """Return what programs are told where there is no more to say than what is wrong."""
    said = "internal error" if status is HTTPStatus.INTERNAL_SERVER_ERROR else status.phrase.lower()
    return Page(status, f'{{"error": "{said}"}}\n'.encode())


class Identity(Struct, frozen=True):
    """Who is speaking."""

    version: str
    mode: str
    consumer: str
    group: str


class Views:
    """Builds the views from what is known; only the orders ask the database, and only while it answers."""

    def __init__(
        self,
        identity: Identity,
        vitals: Vitals,
        checks: Checks,
        *,
        stale_after_s: float,
        recent_orders: Callable[[int], object],
        meant: Meant = NOTHING_MEANT,
    ) -> None:
        self._identity = identity
        self._vitals = vitals
        self._checks = checks
        self._stale_after_s = stale_after_s
        self._recent_orders = recent_orders
        self._meant = meant
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self.routes: Mapping[str, Callable[[str], Page]] = {
            "/health": self.health,
            "/ready": self.ready,
            "/status": self.status,
            "/metrics": self.metrics,
        }

    def health(self, _query: str = "") -> Page:
        """Whether the loop is alive."""
        age = self._vitals.sign_of_life_age_s
        alive = age <= self._stale_after_s
        body = {"status": "ok" if alive else "stuck", "sign_of_life_age_s": round(age, 3)}
        return _page(HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE, body)

    def ready(self, _query: str = "") -> Page:
        """Whether orders are being worked on, and if not, why."""
        redis, database = self._checks.redis.last, self._checks.database.last
        reasons = [
            f"{server}: {error}"
            for server, error in (("redis", redis.error), ("database", database.error))
            if error is not None
        ]
        if redis.told is not None and not redis.told.group_exists:
            reasons.append("redis: the consumer group is missing")
        if database.told is not None and not database.told.schema.is_usable:
            way = ", and something is in the way of migrating it" if database.told.schema.obstacle else ""
            reasons.append(f"database: the schema is behind{way}")
        if self._vitals.state != "running":
            reasons.append(self._vitals.outage or self._vitals.state)
        reasons = list(dict.fromkeys(reasons))
        body = {"ready": not reasons, "reasons": reasons}
        return _page(HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, body)

    def status(self, _query: str = "") -> Page:
        """Everything at once, for people and dashboards."""
        body = {
            "service": SERVICE,
            **msgspec.structs.asdict(self._identity),
            "state": self._vitals.state,
            "outage": self._vitals.outage,
            "stats": {
                **{_stat(name): count for name, count in self._vitals.counts().items()},
                "start_time": utc_text(self._started_at),
                "uptime_seconds": round(self._uptime_s, 3),
            },
            "redis": _server(self._checks.redis.last, document_of_streams),
            "database": _server(self._checks.database.last, document_of_database),
        }
        return _page(HTTPStatus.OK, body)

    def metrics(self, _query: str = "") -> Page:
        """The same for Prometheus."""
        told = Told(
            version=self._identity.version,
            python=platform.python_version(),
            uptime_s=self._uptime_s,
            sign_of_life_age_s=self._vitals.sign_of_life_age_s,
            counts=self._vitals.counts(),
            figures=self._vitals.figures(),
            redis=self._checks.redis.last,
            database=self._checks.database.last,
            meant=self._meant,
        )
        return Page(HTTPStatus.OK, exposition(told), CONTENT_TYPE)

    def orders(self, query: str = "") -> Page:
        """The orders recorded last."""
        limit = _limit(query)
        if limit is None:
            return _page(
                HTTPStatus.BAD_REQUEST, {"error": f"limit must be a whole number from 1 to {ORDERS_LIMIT}"}
            )
        if not self._checks.database.last.connected:
            return _page(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database does not answer"})
        try:
            found = self._recent_orders(limit)
        except Outage as outage:
            log.warning("orders not shown", reason=outage.reason)
            return _page(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database does not answer"})
        except Refused as error:
            log.error("orders not shown", reason=str(error))  # noqa: TRY400  its line says all
            return _page(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the orders can't be read"})
        return Page(HTTPStatus.OK, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")

    @property
    def _uptime_s(self) -> float:
        return time.monotonic() - self._started


def _server(last: LastAnswer[_Told], document_of: Callable[[_Told], Document]) -> Document:
    if last.told is None:
        return {"connected": False, "error": last.error}
    return {"connected": True, **document_of(last.told)}


def _page(status: HTTPStatus, body: Document) -> Page:
    return Page(status, printed(body, indent=2).encode() + b"\n")


def _stat(name: str) -> str:
    return _STATS.get(name) or f"orders_{name}"


def _limit(query: str) -> int | None:
    given = parse_qs(query, keep_blank_values=True).get("limit", [str(DEFAULT_ORDERS_LIMIT)])
    if len(given) != 1 or not given[0].isascii() or not given[0].isdecimal() or len(given[0]) > len("100"):
        return None
    limit = int(given[0])
    return limit if 1 <= limit <= ORDERS_LIMIT else None
