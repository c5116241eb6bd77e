"""Every setting: its name, default, unit and check. Read once, from the environment, before anything connects."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from worker.domain.errors import ConfigurationError

PREFIX = "WORKER_"
SHOWN = 80
MOST_SECRET = 65_536
UNPREFIXED = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}
# Never shown, and each may stand in a file instead.
SECRETS = ("redis_url", "database_url", "venue_url")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_CONTROLS = frozenset(map(chr, (*range(32), 127)))
_DATABASE_SCHEMES = ("postgres://", "postgresql://", "postgresql+psycopg://")
_VENUE_SCHEMES = ("http://", "https://")


def _key(value: str) -> str:
    if not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("must be printable and without spaces")
    return value


def _one_of(schemes: tuple[str, ...], url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith(schemes):
        raise ValueError(f"must begin with one of {', '.join(schemes)}")
    # Libraries drop a line break without a word, and end the whole connection string at a NUL.
    if any(character in _CONTROLS for character in unquote(text)):
        raise ValueError("must be without control characters")
    return url


def _parts(schemes: tuple[str, ...], url: SecretStr) -> SplitResult:
    text = _one_of(schemes, url).get_secret_value()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        # The library's own text would show what it takes for the port: a piece of the password.
        raise ValueError(
            "can't be read: its port is no port, or its password is not percent-encoded"
        ) from None
    return parts


def _redis(url: SecretStr) -> SecretStr:
    parts = _parts(_REDIS_SCHEMES, url)
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not (database.isascii() and database.isdecimal()):
        # The library would take database 0 instead.
        raise ValueError("its path must be the number of a database")
    return url


def _venue(url: SecretStr) -> SecretStr:
    parts = _parts(_VENUE_SCHEMES, url)
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must name a host, and have neither a query nor a fragment")
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(lambda url: _one_of(_DATABASE_SCHEMES, url))]
VenueUrl = Annotated[SecretStr, AfterValidator(_venue)]
KeyName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_key)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Settings(BaseModel):
    """The settings of one replica. Fields map to WORKER_<NAME>, but for REDIS_URL and DATABASE_URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: RedisUrl = Field(description="Redis: redis://, rediss:// or unix://")
    database_url: DatabaseUrl = Field(description="PostgreSQL: postgres:// or postgresql://")
    orders_stream: KeyName = Field("orders", description="Stream that orders arrive on")
    results_stream: KeyName = Field("order_results", description="Stream that results go to")
    dead_letter_stream: KeyName = Field("orders:dead", description="Stream that dead letters go to")
    results_channel: KeyName | None = Field(
        None, description="Pub/Sub channel that gets a JSON copy of each result"
    )
    group: KeyName = Field("execution", description="Consumer group")
    consumer: KeyName = Field(
        "worker", description="Prefix of the consumer's name; host, pid and chance follow"
    )
    order_id_field: KeyName = Field("order_id", description="Field that identifies an order")
    batch_size: int = Field(500, ge=1, le=10_000, description="Entries per read, transaction and settle")
    block_ms: int = Field(2000, ge=1, le=60_000, description="Longest wait of a read, ms")
    lease_ms: int = Field(
        30_000, ge=100, le=3_600_000, description="Idle time after which others claim an entry, ms"
    )
    max_deliveries: int = Field(
        5, ge=3, le=1000, description="Deliveries without an outcome before an entry is buried"
    )
    transaction_timeout_s: Seconds = Field(
        10, description="Longest statement, lock wait or pause in a transaction, s"
    )
    execute_timeout_s: Seconds = Field(
        10, description="Longest execution of one order; then the process leaves, s"
    )
    drain_timeout_s: Seconds = Field(8, description="Longest drain; then the process leaves, s")
    max_entry_bytes: int = Field(
        65_536, ge=1024, le=16_777_216, description="Larger entries are dead letters, bytes"
    )
    max_entry_fields: int = Field(64, ge=1, le=1000, description="Entries of more fields are dead letters")
    max_entry_depth: int = Field(
        32, ge=1, le=100, description="Payloads nested deeper are dead letters, levels"
    )
    max_integer_digits: int = Field(
        20, ge=1, le=20, description="Amounts of more digits before the point are rejected"
    )
    max_fraction_digits: int = Field(
        30, ge=0, le=30, description="Amounts of more digits after the point are rejected"
    )
    max_order_age_s: float = Field(
        0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="Older orders, and those dated more than 60 s ahead, are rejected, s (0: none is)",
    )
    orders_keep_s: int = Field(
        86_400,
        ge=0,
        le=315_360_000,
        description="Age from which orders that every group has acked are trimmed, s (0: never)",
    )
    results_maxlen: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        description="Results kept besides those that a group has not acked (0: all)",
    )
    repair_window_s: int = Field(
        900,
        ge=0,
        le=31_536_000,
        description="At start, and after Redis was away, what was committed so lately and lost there is given back, s (0: nothing)",
    )
    executor: str = Field("paper", min_length=1, description="paper, venue, or package.module:Name")
    venue_url: VenueUrl | None = Field(
        None, description="Where the venue executor sends orders: http:// or https://"
    )
    paper_success_rate: float = Field(
        0.95, ge=0, le=1, allow_inf_nan=False, description="Share of orders that the paper executor fills"
    )
    paper_latency_ms: float = Field(
        0, ge=0, le=60_000, allow_inf_nan=False, description="Pause of the paper executor per order, ms"
    )
    health_host: str = Field("127.0.0.1", min_length=1, description="Address that HTTP listens on")
    health_port: int = Field(8003, ge=1, le=65_535, description="Port that HTTP listens on")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level logged"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object per line, or text for people"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        faults = []
        streams = [self.orders_stream, self.results_stream, self.dead_letter_stream]
        if len(set(streams)) < len(streams):
            faults.append(
                "WORKER_ORDERS_STREAM, WORKER_RESULTS_STREAM, WORKER_DEAD_LETTER_STREAM: must differ"
            )
        for name, seconds in (
            ("TRANSACTION_TIMEOUT_S", self.transaction_timeout_s),
            ("EXECUTE_TIMEOUT_S", self.execute_timeout_s),
        ):
            if self.lease_ms <= seconds * 1000:
                faults.append(
                    f"WORKER_LEASE_MS: must be longer than WORKER_{name} ({self.lease_ms} ms against {seconds:g} s)"
                )
        if self.executor == "venue" and self.venue_url is None:
            faults.append("WORKER_VENUE_URL: is not set, and WORKER_EXECUTOR is venue")
        if faults:
            raise ValueError("\n".join(faults))
        return self


def variable(field: str) -> str:
    """Return the environment variable of a field."""
    return UNPREFIXED.get(field, f"{PREFIX}{field.upper()}")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    A URL may stand in the file that REDIS_URL_FILE, DATABASE_URL_FILE or WORKER_VENUE_URL_FILE names. Raises ConfigurationError with
    one line per bad variable, all at once, no secret in any of them.
    """
    faults: list[str] = []
    values = {}
    for field in Settings.model_fields:
        name = variable(field)
        if field in SECRETS:
            secret = _secret(name, environment, faults)
            if secret is not None:
                values[field] = secret
        elif name in environment:
            values[field] = environment[name]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += _lines(error, already=faults)
        faults += _disagreements(values, error)
        raise ConfigurationError("\n".join(faults)) from None
    if faults:
        raise ConfigurationError("\n".join(faults))
    return settings


def _disagreements(values: Mapping[str, str], error: ValidationError) -> list[str]:
    """Return how the good values disagree: pydantic compares them only once all are good."""
    bad = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    if not bad:
        return []
    stand_ins = {
        "redis_url": _REDIS_SCHEMES[0],
        "database_url": _DATABASE_SCHEMES[0],
        **({"venue_url": f"{_VENUE_SCHEMES[0]}venue"} if "venue_url" in bad else {}),
    }
    try:
        Settings.model_validate(
            {**stand_ins, **{name: value for name, value in values.items() if name not in bad}}
        )
    except ValidationError as disagreement:
        return _lines(disagreement, already=())
    return []


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each WORKER_ variable that does not exist, with the nearest that does."""
    known = {variable(field) for field in Settings.model_fields}
    known |= {f"{variable(field)}_FILE" for field in SECRETS}
    warnings = []
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, n=1)
        shown = name if name.isprintable() else repr(name)
        warnings.append(f"{_shortened(shown)} is no setting" + (f", did you mean {near[0]}?" if near else ""))
    return warnings


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _secret(name: str, environment: Mapping[str, str], faults: list[str]) -> str | None:
    file_name = f"{name}_FILE"
    if file_name not in environment:
        return environment.get(name)
    if name in environment:
        faults.append(f"{name}: given twice, {file_name} is set too")
        return None
    try:
        with Path(environment[file_name]).open(encoding="utf-8") as file:
            # A device like /dev/zero never ends.
            text = file.read(MOST_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        faults.append(f"{file_name}: can't be read: {why}")
        return None
    if len(text) > MOST_SECRET:
        faults.append(f"{file_name}: can't be read: is longer than {MOST_SECRET} characters")
        return None
    return text.strip()


def _lines(error: ValidationError, already: Iterable[str]) -> list[str]:
    named = {line.partition(":")[0].removesuffix("_FILE") for line in already}
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        if not fault["loc"]:
            lines += fault["msg"].removeprefix("Value error, ").split("\n")
            continue
        field = str(fault["loc"][0])
        name = variable(field)
        if name in named:
            continue
        message = "is not set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
        shown = "" if field in SECRETS else f", not {_shortened(repr(fault['input']))}"
        lines.append(f"{name}: {message[:1].lower()}{message[1:]}{shown}")
    return lines
