"""Every setting: its name, default, unit and check."""

import math
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from worker.domain.deliveries import LEAST_DEATHS, MOST_DELIVERIES, NEVER_WITHHELD_BYTES
from worker.domain.fleets import Fleet, source_of
from worker.domain.pruning import LEAST_WINDOW_S
from worker.settings import checks
from worker.settings.checks import Secret

PREFIX = "WORKER_"
UNPREFIXED = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}
# Never shown, and each may stand in a file instead.
SECRETS = ("redis_url", "database_url", "venue_url", "read_token", "admin_token")

_REDIS = Meta(extra={"check": checks.redis_url})
_DATABASE = Meta(extra={"check": checks.database_url})
_VENUE = Meta(extra={"check": checks.venue_url})
_TOKEN = Meta(extra={"check": checks.token})
_FIELDS = Meta(extra={"check": checks.field_names})
_CALLBACK = Meta(extra={"check": checks.name_of_code})
_KEY = Meta(extra={"check": checks.key_name})
# A server counts in milliseconds, and takes none for no limit.
_SECONDS = Meta(ge=0.01, le=3600)


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one replica. Fields map to WORKER_<NAME>, but for REDIS_URL and DATABASE_URL."""

    redis_url: Annotated[
        Secret,
        _REDIS,
        Meta(description="Redis: redis://, redis+sentinel://, redis+cluster://, with TLS rediss…; unix://"),
    ]
    database_url: Annotated[Secret, _DATABASE, Meta(description="PostgreSQL: postgres:// or postgresql://")]
    credentials: Annotated[
        str | None,
        _CALLBACK,
        Meta(
            description=(
                "package.module:name of a callback that gives user and password for each new connection"
                " (none: the URLs have them)"
            )
        ),
    ] = None
    connection_max_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="Age before which connections to both servers are renewed, s (0: never)",
        ),
    ] = 0
    orders_stream: Annotated[str, _KEY, Meta(description="Stream that orders arrive on")] = "orders"
    results_stream: Annotated[str, _KEY, Meta(description="Stream that results go to")] = "order_results"
    dead_letter_stream: Annotated[str, _KEY, Meta(description="Stream that dead letters go to")] = (
        "orders:dead"
    )
    source: Annotated[
        str | None,
        Meta(
            extra={"check": checks.source},
            description=(
                "Whose rows and marks these are, if not the name of the orders stream;"
                " stays what it is for its stream"
            ),
        ),
    ] = None
    results_channel: Annotated[
        str | None, _KEY, Meta(description="Pub/Sub channel that gets a JSON copy of each result")
    ] = None
    group: Annotated[str, _KEY, Meta(description="Consumer group")] = "execution"
    consumer: Annotated[
        str, _KEY, Meta(description="Prefix of the consumer's name; host, pid and chance follow")
    ] = "worker"
    order_id_field: Annotated[str, _KEY, Meta(description="Field that identifies an order")] = "order_id"
    batch_size: Annotated[
        int, Meta(ge=1, le=10_000, description="Entries per read, transaction and settle")
    ] = 500
    batch_bytes: Annotated[
        int,
        Meta(
            ge=NEVER_WITHHELD_BYTES,
            le=1_073_741_824,
            description="Bytes of entries held at once, a few times over",
        ),
    ] = 16_777_216
    block_ms: Annotated[int, Meta(ge=1, le=60_000, description="Longest wait of a read, ms")] = 2000
    lease_ms: Annotated[
        int, Meta(ge=100, le=3_600_000, description="Idle time after which others claim an entry, ms")
    ] = 30_000
    max_deliveries: Annotated[
        int,
        Meta(
            ge=LEAST_DEATHS,
            le=MOST_DELIVERIES,
            description="Deliveries without an outcome before an entry is buried",
        ),
    ] = 5
    start_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="Longest wait of `run` and `migrate` for servers that are away, s (0: none)",
        ),
    ] = 60
    transaction_timeout_s: Annotated[
        float, _SECONDS, Meta(description="Longest statement, lock wait or pause in a transaction, s")
    ] = 10
    execute_timeout_s: Annotated[
        float, _SECONDS, Meta(description="Longest execution of one order; then the process leaves, s")
    ] = 10
    drain_timeout_s: Annotated[
        float, _SECONDS, Meta(description="Longest drain; then the process leaves, s")
    ] = 8
    max_entry_bytes: Annotated[
        int, Meta(ge=1024, le=16_777_216, description="Larger entries are dead letters, bytes")
    ] = 65_536
    max_entry_fields: Annotated[
        int, Meta(ge=1, le=1000, description="Entries of more fields are dead letters")
    ] = 64
    max_entry_depth: Annotated[
        int, Meta(ge=1, le=100, description="Payloads nested deeper are dead letters, levels")
    ] = 32
    max_integer_digits: Annotated[
        int, Meta(ge=1, le=20, description="Amounts of more digits before the point are rejected")
    ] = 20
    max_fraction_digits: Annotated[
        int, Meta(ge=0, le=30, description="Amounts of more digits after the point are rejected")
    ] = 30
    max_order_age_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description=(
                "Older orders, by timestamp or entry id, and those dated more than 60 s ahead,"
                " are rejected, s (0: none is)"
            ),
        ),
    ] = 0
    orders_keep_s: Annotated[
        int,
        Meta(
            ge=0,
            le=315_360_000,
            description="Age from which orders that every group has acked are trimmed, s (0: never)",
        ),
    ] = 86_400
    results_maxlen: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description=(
                "Results kept besides those of the last WORKER_REPAIR_WINDOW_S"
                " and those that a group has not acked (0: all)"
            ),
        ),
    ] = 0
    letters_keep_s: Annotated[
        int,
        Meta(
            ge=0,
            le=315_360_000,
            description=(
                "Time for which dead letters are kept once they are closed,"
                " at least WORKER_REPAIR_WINDOW_S, s (0: for ever)"
            ),
        ),
    ] = 2_592_000
    rows_keep_s: Annotated[
        int,
        Meta(
            ge=0,
            le=3_153_600_000,
            description=(
                "Age from which replicas let rows go, at least WORKER_DEDUPE_WINDOW_S, s"
                " (0: they don't; `worker prune` does)"
            ),
        ),
    ] = 0
    dedupe_window_s: Annotated[
        int,
        Meta(
            ge=LEAST_WINDOW_S,
            le=3_153_600_000,
            description=(
                "What producers are promised: an order sent again so soon after it was executed"
                " is a duplicate; no row goes before, s"
            ),
        ),
    ] = 604_800
    allow_eviction: Annotated[
        bool, Meta(description="Start on a Redis that may evict orders (maxmemory-policy allkeys-…)")
    ] = False
    allow_volatile: Annotated[
        bool,
        Meta(
            description=(
                "Take it as meant that a server may lose what it has acknowledged"
                " (appendonly no, fsync off, …)"
            )
        ),
    ] = False
    repair_window_s: Annotated[
        int,
        Meta(
            ge=0,
            le=31_536_000,
            description=(
                "At start, and after a server was away, what is so recent is compared:"
                " what Redis lost is given back, rows that PostgreSQL lost are told, s (0: nothing)"
            ),
        ),
    ] = 900
    idle_check_s: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description=(
                "Pause between two questions to PostgreSQL of a replica that has nothing to do, s"
                " (0: it asks none)"
            ),
        ),
    ] = 10
    executor: Annotated[str, Meta(min_length=1, description="paper, venue, or package.module:Name")] = "paper"
    venue_url: Annotated[
        Secret | None, _VENUE, Meta(description="Where the venue executor sends orders: http:// or https://")
    ] = None
    paper_success_rate: Annotated[
        float, Meta(ge=0, le=1, description="Share of orders that the paper executor fills")
    ] = 0.95
    paper_latency_ms: Annotated[
        float, Meta(ge=0, le=60_000, description="Pause of the paper executor per order, ms")
    ] = 0
    health_host: Annotated[str, Meta(min_length=1, description="Address that HTTP listens on")] = "127.0.0.1"
    health_port: Annotated[int, Meta(ge=1, le=65_535, description="Port that HTTP listens on")] = 8003
    pages: Annotated[
        bool, Meta(description="Show pages for people, and /orders; without them the rest of HTTP stays")
    ] = True
    read_token: Annotated[
        Secret | None, _TOKEN, Meta(description="Who reads pages and /orders has to know it (none: anybody)")
    ] = None
    admin_token: Annotated[
        Secret | None,
        _TOKEN,
        Meta(description="Who replays and discards dead letters on pages has to know it (none: nobody can)"),
    ] = None
    hidden_fields: Annotated[
        str, _FIELDS, Meta(description="Fields whose values are not shown, with commas between their names")
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="Least severe level logged")
    ] = "INFO"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="One JSON object per line, or text for people")
    ] = "json"

    @property
    def fleet(self) -> Fleet:
        """Whose rows these replicas write, and where they publish."""
        return Fleet(self.source or source_of(self.orders_stream), self.results_stream)

    @property
    def window_s(self) -> int:
        """For how long after it was recorded no row goes, whoever wants it to."""
        return max(self.dedupe_window_s, self.repair_window_s)

    @property
    def longest_use_s(self) -> float:
        """How long a connection may be in use for one thing."""
        return max(self.block_ms / 1000, self.transaction_timeout_s)

    @property
    def renew_connections_after_s(self) -> float:
        """When connections are renewed, so that what is in use then is not too old once it is free."""
        return self.connection_max_age_s - self.longest_use_s if self.connection_max_age_s else math.inf

    @property
    def hidden_names(self) -> frozenset[str]:
        """The names of the fields whose values are not shown."""
        return frozenset(name.strip() for name in self.hidden_fields.split(",")) - {""}


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return UNPREFIXED.get(field, f"{PREFIX}{field.upper()}")


def marks(field: FieldInfo) -> tuple[Meta, ...]:
    """Return the bounds, checks and the meaning of a field, the meaning last."""
    _, *all_of_them = get_args(field.type)
    return tuple(all_of_them)
