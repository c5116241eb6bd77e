"""The variables of OpenTelemetry: what they switch on, and how their faults are told, without secrets."""

import pytest

from worker.tracing import Receiver, Sampling, Unusable, receiver_in

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
SECRET = "hush-hush"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "orders", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"},
    ],
)
def test_no_traces_are_sent_unless_an_endpoint_is_named(environment: dict[str, str]) -> None:
    assert receiver_in(environment) is None


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (ENDPOINT, "collector:4318"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example/v1/traces"}, "traces.example:443"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]"}, "::1:80"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://me:{SECRET}@host/{SECRET}?k={SECRET}"}, "host:443"),
    ],
)
def test_receiver_is_named_by_host_and_port_alone(environment: dict[str, str], name: str) -> None:
    receiver = receiver_in(environment)

    assert receiver is not None
    assert receiver.name == name


@pytest.mark.parametrize(
    ("sampler", "argument", "sampling"),
    [
        (None, None, Sampling(True, 1)), ("", "", Sampling(True, 1)),
        ("always_on", "0.1", Sampling(False, 1)),
        ("always_off", None, Sampling(False, 0)), ("traceidratio", "0.01", Sampling(False, 0.01)),
        ("traceidratio", None, Sampling(False, 1)), ("parentbased_always_on", None, Sampling(True, 1)),
        ("parentbased_always_off", None, Sampling(True, 0)),
        ("parentbased_traceidratio", " 0.25 ", Sampling(True, 0.25)),
    ],
)  # fmt: skip
def test_sampler_says_which_orders_are_followed(
    sampler: str | None, argument: str | None, sampling: Sampling
) -> None:
    said = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}

    receiver = receiver_in({**ENDPOINT, **{name: text for name, text in said.items() if text is not None}})

    assert receiver == Receiver("collector:4318", sampling)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[half"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://a:1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:{SECRET}@host:port"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"), ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET), ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", f"a=b,{SECRET}"),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_told_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(Unusable) as told:
        receiver_in({**ENDPOINT, name: value})

    assert str(told.value).startswith(f"{name}: ")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("argument", ["a", "-0.1", "1.1", "nan", "inf"])
def test_share_that_is_none_is_told(argument: str) -> None:
    with pytest.raises(Unusable, match="OTEL_TRACES_SAMPLER_ARG"):
        receiver_in({**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Unusable) as told:
        receiver_in(
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "jaeger_remote"}
        )

    assert len(str(told.value).splitlines()) == 2
