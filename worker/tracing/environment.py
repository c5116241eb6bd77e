"""What the variables of OpenTelemetry say of traces: where they go, and which orders are followed.

They are the ones that every program of a fleet reads (docs/decisions/0040-traces.md); what is not read here,
such as headers and certificates, the SDK reads by itself.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from worker.tracing.sampling import Sampling

_DISABLED = "OTEL_SDK_DISABLED"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_SAMPLER, _ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
# Of each what is said of traces alone goes before.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOL = "http/protobuf"
# By parent, and the share of traces; None: OTEL_TRACES_SAMPLER_ARG has it.
_SAMPLERS: Mapping[str, tuple[bool, float | None]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
_USUAL_SAMPLER = "parentbased_always_on"


class Receiver(Struct, frozen=True):
    """Who gets spans, by host and port as logs may show it, and of which orders."""

    name: str
    sampling: Sampling


class Unusable(ValueError):
    """Why traces are wanted and can't be sent: a line for each variable, with no value that may be secret."""


def receiver_in(environment: Mapping[str, str]) -> Receiver | None:
    """Return who gets the spans; None where no traces are wanted. Raises Unusable.

    They are wanted where an endpoint of OTLP is named, and neither the SDK nor its exporter is switched off.
    """
    _, endpoint = _said(environment, _ENDPOINTS)
    if not endpoint or environment.get(_DISABLED, "").strip().lower() == "true":
        return None
    exporter = environment.get(_EXPORTER, "").strip() or "otlp"
    if exporter == "none":
        return None
    faults = [*_faults(environment)]
    if exporter != "otlp":
        faults.append(f"{_EXPORTER}: must be otlp or none")
    sampling, fault = _sampling(environment)
    if faults or fault:
        raise Unusable("\n".join([*faults, *([fault] if fault else [])]))
    address = urlsplit(endpoint)
    usual_port = 443 if address.scheme == "https" else 80
    return Receiver(f"{address.hostname}:{address.port or usual_port}", sampling)


def _faults(environment: Mapping[str, str]) -> list[str]:
    faults = []
    name, endpoint = _said(environment, _ENDPOINTS)
    if not _is_address(endpoint):
        faults.append(f"{name}: is no URL of http:// or https:// with a host")
    name, protocol = _said(environment, _PROTOCOLS)
    if protocol not in {"", _PROTOCOL}:
        faults.append(f"{name}: must be {_PROTOCOL}, which is what is spoken here, on port 4318 as a rule")
    name, headers = _said(environment, _HEADERS)
    if any("=" not in each for each in headers.split(",") if each.strip()):
        faults.append(f"{name}: is not name=value, with commas between")
    return faults


def _is_address(text: str) -> bool:
    try:
        address = urlsplit(text)
        return address.scheme in {"http", "https"} and bool(address.hostname) and address.port != 0
    except ValueError:
        return False


def _sampling(environment: Mapping[str, str]) -> tuple[Sampling, str]:
    """Return which orders are followed, and what is wrong with what is said of it."""
    name = environment.get(_SAMPLER, "").strip() or _USUAL_SAMPLER
    by_parent, ratio = _SAMPLERS.get(name, (True, 0.0))
    if name not in _SAMPLERS:
        return Sampling(by_parent, 0.0), f"{_SAMPLER}: must be one of {', '.join(_SAMPLERS)}"
    if ratio is None:
        try:
            ratio = float(environment.get(_ARGUMENT, "").strip() or 1)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            return Sampling(by_parent, 0.0), f"{_ARGUMENT}: is no share from 0 to 1"
    return Sampling(by_parent, ratio), ""


def _said(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the first of these variables that says something, and what."""
    said = ((name, environment.get(name, "").strip()) for name in names)
    return next(((name, text) for name, text in said if text), (names[-1], ""))
