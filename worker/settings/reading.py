"""Reads the settings, and says all that is wrong with them at once."""

import difflib
import re
from collections.abc import Container, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from msgspec import ValidationError, convert
from msgspec.structs import FieldInfo, fields

from worker.domain.errors import ConfigurationError
from worker.domain.fleets import LONGEST_SOURCE, is_source, source_of
from worker.settings.checks import Secret
from worker.settings.settings import PREFIX, SECRETS, Settings, marks, variable
from worker.ways.urls import Kind, hash_tag, way_of

SHOWN = 80
MOST_SECRET = 65_536

# Kubernetes gives a pod the addresses of services, each under the name of the service with _PORT behind it.
_PORT = "_PORT"
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in an environment.

    A secret may stand in the file that its variable with _FILE behind it names, as REDIS_URL_FILE does.
    Raises ConfigurationError with one line per bad variable, all at once, no secret in any of them.
    """
    faults = {}
    # Of a bad value the default stands in, so that the good ones are compared with each other all the same.
    values: dict[str, Any] = {field.name: field.default for field in fields(Settings)}
    for field in fields(Settings):
        try:
            text = _given(field.name, environment)
            if text is not None:
                values[field.name] = _value(field, text)
            if _is_in_a_file(field.name, environment):
                # A password may be changed there, and at its server, while we run.
                values[field.name] = Secret(text or "", partial(_read_again, field, environment))
        except ConfigurationError as fault:
            faults[field.name] = str(fault)
        else:
            if text is None and field.required:
                faults[field.name] = f"{variable(field.name)}: is not set"
    settings = Settings(**values)
    lines = [*faults.values(), *_disagreements(settings, faults)]
    if lines:
        raise ConfigurationError("\n".join(lines))
    return settings


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """Return a warning for each WORKER_ variable that does not exist, with the nearest that does."""
    known = {variable(field.name) for field in fields(Settings)}
    known |= {f"{variable(field)}_FILE" for field in SECRETS}
    warnings = []
    strange = (name for name in environment if name.startswith(PREFIX) and name not in known)
    for name in sorted(name for name in strange if not _is_of_kubernetes(name, environment)):
        near = difflib.get_close_matches(name, known, n=1)
        shown = name if name.isprintable() else repr(name)
        warnings.append(f"{_shortened(shown)} is no setting" + (f", did you mean {near[0]}?" if near else ""))
    return warnings


def _is_of_kubernetes(name: str, environment: Mapping[str, str]) -> bool:
    """Whether nobody has set it: it tells of a service, as the variable with its address does."""
    services = (
        link.removesuffix(_PORT) for link, text in environment.items() if _is_service_link(link, text)
    )
    return any(name.startswith((f"{service}{_PORT}", f"{service}_SERVICE_")) for service in services)


def _is_service_link(name: str, text: str) -> bool:
    return name.endswith(_PORT) and _SERVICE_LINK.match(text) is not None


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _is_in_a_file(field: str, environment: Mapping[str, str]) -> bool:
    return field in SECRETS and f"{variable(field)}_FILE" in environment


def _read_again(field: FieldInfo, environment: Mapping[str, str]) -> str:
    text = _given(field.name, environment) or ""
    _value(field, text)
    return text


def _given(field: str, environment: Mapping[str, str]) -> str | None:
    """Return the text of a variable, or what the file says that stands for it."""
    name, file_name = variable(field), f"{variable(field)}_FILE"
    if not _is_in_a_file(field, environment):
        return environment.get(name)
    if name in environment:
        raise ConfigurationError(f"{name}: given twice, {file_name} is set too")
    try:
        with Path(environment[file_name]).open(encoding="utf-8") as file:
            # A device like /dev/zero never ends.
            text = file.read(MOST_SECRET + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigurationError(f"{file_name}: can't be read: {why}") from None
    if len(text) > MOST_SECRET:
        raise ConfigurationError(f"{file_name}: can't be read: is longer than {MOST_SECRET} characters")
    return text.strip()


def _value(field: FieldInfo, text: str) -> object:
    """Return what a text means for a field."""
    name = variable(field.name)
    if _is_service_link(name, text):
        service = name.removesuffix(_PORT).lower().replace("_", "-")
        raise ConfigurationError(
            f"{name}: {_shortened(repr(text))} is the address of a service {service} that Kubernetes has put"
            f" there; set enableServiceLinks: false in the pod's spec, or {name} itself"
        )
    try:
        value = convert(text, field.type, strict=False, dec_hook=_secret)
        for mark in marks(field):
            if mark.extra is not None:
                mark.extra["check"](value)
    except (ValidationError, ValueError) as error:
        shown = "" if field.name in SECRETS else f", not {_shortened(repr(text))}"
        raise ConfigurationError(f"{name}: {_reason(field, error)}{shown}") from None
    return value


def _secret(_type: type, text: str) -> Secret:
    return Secret(text)


def _reason(field: FieldInfo, error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "is not text"
    said = str(error)
    if said.startswith("Invalid enum value"):
        kind, *_ = get_args(field.type)
        return f"must be one of {', '.join(get_args(kind))}"
    # "Expected `int` >= 1", or with what it is instead: always a text.
    said = said.removesuffix(", got `str`").replace("`", "")
    return f"{said[:1].lower()}{said[1:]}"


def _disagreements(settings: Settings, bad: Container[str]) -> list[str]:
    """Return how the good values disagree."""
    faults = []
    streams = [settings.orders_stream, settings.results_stream, settings.dead_letter_stream]
    if len(set(streams)) < len(streams):
        faults.append("WORKER_ORDERS_STREAM, WORKER_RESULTS_STREAM, WORKER_DEAD_LETTER_STREAM: must differ")
    if "redis_url" not in bad and way_of(settings.redis_url.get_secret_value()).kind is Kind.CLUSTER:
        faults += _scattered(streams)
    for name, seconds in (
        ("TRANSACTION_TIMEOUT_S", settings.transaction_timeout_s),
        ("EXECUTE_TIMEOUT_S", settings.execute_timeout_s),
    ):
        if settings.lease_ms <= seconds * 1000:
            faults.append(
                f"WORKER_LEASE_MS: must be longer than WORKER_{name}"
                f" ({settings.lease_ms} ms against {seconds:g} s)"
            )
    if settings.batch_bytes < settings.max_entry_bytes:
        faults.append(
            "WORKER_BATCH_BYTES: must be no less than WORKER_MAX_ENTRY_BYTES"
            f" ({settings.batch_bytes} against {settings.max_entry_bytes})"
        )
    if settings.order_id_field.casefold() in {name.casefold() for name in settings.hidden_names}:
        faults.append(
            f"WORKER_HIDDEN_FIELDS: must not name {settings.order_id_field}, which is WORKER_ORDER_ID_FIELD:"
            " an order is found by it"
        )
    default_is_bad = not is_source(source_of(settings.orders_stream))
    if settings.source is None and "source" not in bad and default_is_bad:
        faults.append(
            "WORKER_SOURCE: is not set, and WORKER_ORDERS_STREAM has not"
            f" 1 to {LONGEST_SOURCE} of its characters"
        )
    if settings.executor == "venue" and settings.venue_url is None and "venue_url" not in bad:
        faults.append("WORKER_VENUE_URL: is not set, and WORKER_EXECUTOR is venue")
    return faults + _ages(settings) + _unsafe_pages(settings)


def _ages(settings: Settings) -> list[str]:
    """Return how the age of connections disagrees with how long one may be in use."""
    age_s, longest_s = settings.connection_max_age_s, settings.longest_use_s
    if not 0 < age_s < 2 * longest_s:
        return []
    names = "WORKER_TRANSACTION_TIMEOUT_S and WORKER_BLOCK_MS"
    against = f"{age_s:g} s against {longest_s:g} s"
    return [f"WORKER_CONNECTION_MAX_AGE_S: must be at least twice as long as {names} ({against})"]


def _unsafe_pages(settings: Settings) -> list[str]:
    """Return how what guards pages disagrees."""
    faults = []
    tokens = [each and each.get_secret_value() for each in (settings.read_token, settings.admin_token)]
    if tokens[0] is not None and tokens[0] == tokens[1]:
        faults.append("WORKER_READ_TOKEN, WORKER_ADMIN_TOKEN: must differ")
    if settings.admin_token is not None and not settings.pages:
        faults.append("WORKER_ADMIN_TOKEN: is for pages, and WORKER_PAGES is off")
    return faults


def _scattered(streams: list[str]) -> list[str]:
    """Return what is wrong with names of which a cluster would keep some on one node, some on another."""
    tags = {hash_tag(name) for name in streams}
    if len(tags) == 1 and None not in tags:
        return []
    tag = next((each for each in map(hash_tag, streams) if each), "orders")
    fit = (
        name if hash_tag(name) == tag else f"{{{tag}}}:{name.replace('{', '').replace('}', '')}"
        for name in streams
    )
    names = "WORKER_ORDERS_STREAM, WORKER_RESULTS_STREAM, WORKER_DEAD_LETTER_STREAM"
    return [f"{names}: must share a hash tag, since REDIS_URL names a cluster: {', '.join(fit)} would do"]
