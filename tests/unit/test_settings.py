"""Settings: each bad value is a line that names its variable, before anything connects, without a secret."""

import math
from pathlib import Path

import pytest
from msgspec.structs import asdict

from worker.domain.errors import ConfigurationError
from worker.settings import Settings, read_settings, unknown_names, variable

URLS = {"REDIS_URL": "redis://:hidden@host/0", "DATABASE_URL": "postgresql://user:hidden@host/base"}


def faults(**variables: str) -> list[str]:
    """Return the lines that an environment is refused with; an empty one takes a URL away."""
    environment = {name: value for name, value in {**URLS, **variables}.items() if value != "(unset)"}
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environment)
    return str(caught.value).splitlines()


def accepted(**variables: str) -> Settings:
    return read_settings({**URLS, **variables})


def test_defaults_are_those_of_the_contract() -> None:
    made = accepted()

    assert (made.orders_stream, made.results_stream, made.dead_letter_stream) == (
        "orders",
        "order_results",
        "orders:dead",
    )
    assert (made.group, made.consumer, made.order_id_field) == ("execution", "worker", "order_id")
    assert (made.batch_size, made.block_ms, made.lease_ms, made.max_deliveries) == (500, 2000, 30_000, 5)
    assert made.batch_bytes == 16_777_216
    assert (made.transaction_timeout_s, made.execute_timeout_s, made.drain_timeout_s) == (10, 10, 8)
    assert (made.max_entry_bytes, made.max_entry_fields, made.max_entry_depth) == (65_536, 64, 32)
    assert (made.max_integer_digits, made.max_fraction_digits, made.max_order_age_s) == (20, 30, 0)
    assert (made.executor, made.paper_success_rate, made.results_channel) == ("paper", 0.95, None)
    assert (made.health_host, made.health_port) == ("127.0.0.1", 8003)
    assert (made.log_level, made.log_format) == ("INFO", "json")


def test_variables_are_read_by_their_prefixed_names() -> None:
    made = accepted(WORKER_BATCH_SIZE="7", WORKER_RESULTS_CHANNEL="copies", WORKER_LOG_LEVEL="DEBUG")

    assert (made.batch_size, made.results_channel, made.log_level) == (7, "copies", "DEBUG")


BAD: dict[str, list[str]] = {
    "WORKER_BATCH_SIZE": ["", "abc", "0", "-1", "1e9", "1000000000", "1.5", "NaN"],
    "WORKER_BATCH_BYTES": ["0", "65535", "16MiB", "", "2e9"],
    "WORKER_BLOCK_MS": ["0", "-5", "60001", "soon"],
    "WORKER_LEASE_MS": ["abc", "99", "NaN"],
    "WORKER_MAX_DELIVERIES": ["2", "0", "-3", "abc"],
    "WORKER_START_TIMEOUT_S": ["-1", "NaN", "inf", ""],
    "WORKER_ALLOW_EVICTION": ["", "yes please", "2"],
    "WORKER_ALLOW_VOLATILE": ["", "maybe", "-1"],
    # In the server's milliseconds these are no time, which it takes for no limit.
    "WORKER_TRANSACTION_TIMEOUT_S": ["0.001", "1e-9", "0", "-1", "NaN", "inf", "", "abc"],
    "WORKER_EXECUTE_TIMEOUT_S": ["0.001", "0", "nan", "Infinity"],
    "WORKER_DRAIN_TIMEOUT_S": ["0", "x"],
    "WORKER_MAX_ENTRY_BYTES": ["1", "-1", "lots"],
    "WORKER_MAX_ENTRY_FIELDS": ["0", "1001"],
    "WORKER_MAX_ENTRY_DEPTH": ["0", "-1", "101", "deep", ""],
    "WORKER_MAX_INTEGER_DIGITS": ["0", "21", "many", "NaN"],
    "WORKER_MAX_FRACTION_DIGITS": ["-1", "31", "1.5"],
    "WORKER_MAX_ORDER_AGE_S": ["-1", "NaN", "inf", "", "old"],
    "WORKER_PAPER_SUCCESS_RATE": ["-0.1", "1.1", "nan", "often"],
    "WORKER_HEALTH_PORT": ["0", "70000", "http"],
    "WORKER_HIDDEN_FIELDS": [
        ",", "a,,b", "a b", "a;b c", "e\nmail", "x" * 101, "order_id", "a,Entry_id", "replay_of",
    ],
    "WORKER_LOG_LEVEL": ["LOUD", "info", ""],
    "WORKER_LOG_FORMAT": ["xml"],
    "WORKER_ORDERS_STREAM": ["", "a b", "a\nb", "x" * 101],
    "WORKER_SOURCE": ["", "x" * 81, "a b", "a{b}", "a#b", "ä", "a\n", "\x1b[31m"],
    "WORKER_RESULTS_CHANNEL": [""],
    "WORKER_GROUP": ["", "\x1b[31m"],
    "WORKER_EXECUTOR": [""],
    "WORKER_CREDENTIALS": ["", "module", "module:", ":name", ":"],
    "WORKER_CONNECTION_MAX_AGE_S": ["-1", "NaN", "inf", "", "old", "15m"],
    "WORKER_VENUE_URL": [
        "", "venue:80", "ftp://host", "http://", "http://me:hid/den@host", "http://host:99999",
        "http://host?k=hidden", "http://host#x", "http://host\n",
    ],
    "REDIS_URL": [
        "", "http://host", "host:6379", "(unset)", "redis://host:hidden/0", "redis://:hid/den@host",
        "redis://[::1", "redis://host:99999", "redis://host/first", "redis://:hidden@host\n",
        "redis://:hid%00den@host",
    ],
    "DATABASE_URL": [
        "", "mysql://host/base", "sqlite://", "(unset)", "postgresql://u:hidden@host/b\n",
        "postgresql://u:hid%00@host",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_bad_value_is_one_line_that_names_its_variable(name: str, value: str) -> None:
    (line,) = faults(**{name: value})

    assert line.startswith(f"{name}: ")
    assert line.isprintable()
    assert "hid" not in line


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_missing_url_is_said_to_be_missing(name: str) -> None:
    assert faults(**{name: "(unset)"}) == [f"{name}: is not set"]


def test_all_bad_values_are_named_at_once() -> None:
    lines = faults(
        REDIS_URL="http://host",
        DATABASE_URL="(unset)",
        WORKER_BATCH_SIZE="0",
        WORKER_HEALTH_PORT="x",
        WORKER_LOG_FORMAT="xml",
    )

    assert sorted(line.partition(":")[0] for line in lines) == [
        "DATABASE_URL",
        "REDIS_URL",
        "WORKER_BATCH_SIZE",
        "WORKER_HEALTH_PORT",
        "WORKER_LOG_FORMAT",
    ]


def test_values_that_disagree_are_named_at_once() -> None:
    lines = faults(WORKER_LEASE_MS="1000", WORKER_RESULTS_STREAM="orders")

    assert [line.partition(":")[0] for line in lines] == [
        "WORKER_ORDERS_STREAM, WORKER_RESULTS_STREAM, WORKER_DEAD_LETTER_STREAM",
        "WORKER_LEASE_MS",
        "WORKER_LEASE_MS",
    ]


@pytest.mark.parametrize(
    ("others", "age", "longest"),
    [
        ({}, "19.9", "10 s"),
        ({"WORKER_TRANSACTION_TIMEOUT_S": "1"}, "3", "2 s"),
        ({"WORKER_BLOCK_MS": "11000"}, "21", "11 s"),
    ],
)
def test_connections_that_may_be_in_use_for_half_of_their_age_are_refused(
    others: dict[str, str], age: str, longest: str
) -> None:
    (line,) = faults(WORKER_CONNECTION_MAX_AGE_S=age, **others)

    assert line.startswith("WORKER_CONNECTION_MAX_AGE_S: must be at least twice as long as WORKER_TRANS")
    assert line.endswith(f"({age} s against {longest})")


def test_connections_are_renewed_so_early_that_none_in_use_becomes_too_old() -> None:
    assert accepted(WORKER_CONNECTION_MAX_AGE_S="20").renew_connections_after_s == 10
    assert accepted(WORKER_CONNECTION_MAX_AGE_S="900").renew_connections_after_s == 890
    assert accepted().renew_connections_after_s == math.inf


def test_values_that_disagree_are_named_together_with_bad_ones() -> None:
    lines = faults(WORKER_BATCH_SIZE="0", WORKER_RESULTS_STREAM="orders")

    assert len(lines) == 2


@pytest.mark.parametrize("value", ["http://user:hidden@host", "hidden", "mysql://u:hidden@h/b\nhidden"])
@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_no_secret_is_printed(name: str, value: str) -> None:
    assert "hidden" not in "\n".join(faults(**{name: value}))


def test_settings_do_not_show_their_secrets() -> None:
    made = accepted()

    assert ":hidden" not in f"{made!r}{made}{asdict(made)}"


@pytest.mark.parametrize("name", ["WORKER_RESULTS_STREAM", "WORKER_DEAD_LETTER_STREAM"])
def test_streams_must_differ(name: str) -> None:
    (line,) = faults(**{name: "orders"})

    assert line.endswith("must differ")


def test_source_has_at_most_80_of_the_characters_of_an_order_id() -> None:
    longest = "Az09._:/-" + "x" * 71
    assert len(longest) == 80

    assert accepted(WORKER_SOURCE=longest).fleet.source == longest
    assert faults(WORKER_SOURCE=f"{longest}x") == [
        f"WORKER_SOURCE: must be 1 to 80 characters of A-Z a-z 0-9 . _ : / -, not '{longest[:79]}…"
    ]


@pytest.mark.parametrize(
    ("stream", "source"),
    [("orders", "orders"), ("{eu}:orders#2", "eu:orders2"), ("x" * 80 + "{}", "x" * 80)],
)
def test_source_that_is_not_set_is_what_the_name_of_the_orders_stream_has_of_its_characters(
    stream: str, source: str
) -> None:
    assert accepted(WORKER_ORDERS_STREAM=stream).fleet.source == source


@pytest.mark.parametrize("stream", ["{#}", "x" * 81, "ä"])
def test_source_must_be_set_when_the_name_of_the_orders_stream_makes_none(stream: str) -> None:
    (line,) = faults(WORKER_ORDERS_STREAM=stream)

    assert line == "WORKER_SOURCE: is not set, and WORKER_ORDERS_STREAM has not 1 to 80 of its characters"
    assert accepted(WORKER_ORDERS_STREAM=stream, WORKER_SOURCE="eu").fleet.source == "eu"


def test_bad_source_is_named_once_when_the_name_of_the_orders_stream_makes_none_either() -> None:
    assert faults(WORKER_ORDERS_STREAM="{#}", WORKER_SOURCE="a b") == [
        "WORKER_SOURCE: must be 1 to 80 characters of A-Z a-z 0-9 . _ : / -, not 'a b'"
    ]


@pytest.mark.parametrize("name", ["WORKER_TRANSACTION_TIMEOUT_S", "WORKER_EXECUTE_TIMEOUT_S"])
def test_lease_must_be_longer_than_every_deadline(name: str) -> None:
    (line,) = faults(**{name: "30"})

    assert line.startswith(f"WORKER_LEASE_MS: must be longer than {name}")
    assert accepted(**{name: "29.9"}).lease_ms == 30_000


def test_field_that_names_orders_can_not_be_hidden() -> None:
    (line,) = faults(WORKER_ORDER_ID_FIELD="client_id", WORKER_HIDDEN_FIELDS="email,Client_id")

    assert line.startswith("WORKER_HIDDEN_FIELDS: must not name client_id, which is WORKER_ORDER_ID_FIELD")


def test_names_of_hidden_fields_may_have_spaces_around_them() -> None:
    assert accepted(WORKER_HIDDEN_FIELDS=" email , client_id").hidden_names == {"email", "client_id"}
    assert accepted(WORKER_HIDDEN_FIELDS="").hidden_names == set()


def test_batch_must_hold_the_largest_entry() -> None:
    (line,) = faults(WORKER_BATCH_BYTES="99999", WORKER_MAX_ENTRY_BYTES="100000")

    assert line == "WORKER_BATCH_BYTES: must be no less than WORKER_MAX_ENTRY_BYTES (99999 against 100000)"
    assert accepted(WORKER_BATCH_BYTES="100000", WORKER_MAX_ENTRY_BYTES="100000").batch_bytes == 100_000


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@h/b",
        "postgresql://u@h/b",
        "postgresql+psycopg://u@h/b",
        "postgresql://u:p%40ss%2Fword@h/b",
    ],
)
def test_every_spelling_of_a_database_url_is_accepted(url: str) -> None:
    assert accepted(DATABASE_URL=url).database_url.get_secret_value() == url


@pytest.mark.parametrize("url", ["redis://h", "rediss://h:1/2", "unix:///run/redis.sock"])
def test_every_scheme_of_redis_is_accepted(url: str) -> None:
    assert accepted(REDIS_URL=url).redis_url.get_secret_value() == url


def test_url_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://from-file\n", encoding="utf-8")

    made = read_settings({"DATABASE_URL": URLS["DATABASE_URL"], "REDIS_URL_FILE": str(file)})

    assert made.redis_url.get_secret_value() == "redis://from-file"


def test_url_in_a_file_is_read_again_when_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://first")
    made = read_settings({"DATABASE_URL": URLS["DATABASE_URL"], "REDIS_URL_FILE": str(file)}).redis_url

    file.write_text("redis://second")
    before = made.get_secret_value()
    made.read_again()

    assert (before, made.get_secret_value()) == ("redis://first", "redis://second")


@pytest.mark.parametrize("change", ["deleted", "no URL of Redis"])
def test_url_stays_what_it_was_when_its_file_is_no_good_any_more(tmp_path: Path, change: str) -> None:
    file = tmp_path / "url"
    file.write_text("redis://first")
    made = read_settings({"DATABASE_URL": URLS["DATABASE_URL"], "REDIS_URL_FILE": str(file)}).redis_url
    if change == "deleted":
        file.unlink()
    else:
        file.write_text(change)

    with pytest.raises(ConfigurationError):
        made.read_again()

    assert made.get_secret_value() == "redis://first"


def test_url_and_its_file_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://from-file", encoding="utf-8")

    assert faults(REDIS_URL_FILE=str(file)) == ["REDIS_URL: given twice, REDIS_URL_FILE is set too"]


@pytest.mark.parametrize("kind", ["missing", "directory", "binary"])
def test_file_that_can_not_be_read_is_named_and_nothing_of_it_shown(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "url"
    if kind == "directory":
        file.mkdir()
    elif kind == "binary":
        file.write_bytes(b"hidden\xff")

    (line,) = faults(REDIS_URL="(unset)", REDIS_URL_FILE=str(file))

    assert line.startswith("REDIS_URL_FILE: can't be read")
    assert "hidden" not in line


def test_file_that_never_ends_is_refused() -> None:
    assert faults(REDIS_URL="(unset)", REDIS_URL_FILE="/dev/zero") == [
        "REDIS_URL_FILE: can't be read: is longer than 65536 characters"
    ]


def test_file_with_a_bad_url_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("hidden", encoding="utf-8")

    (line,) = faults(REDIS_URL="(unset)", REDIS_URL_FILE=str(file))

    assert line.startswith("REDIS_URL: must begin with one of")
    assert "hidden" not in line


def test_endless_value_is_not_repeated_at_length() -> None:
    (line,) = faults(WORKER_BATCH_SIZE="9" * 5000 + "x")

    assert len(line) < 300


def test_unprintable_name_is_shown_escaped() -> None:
    (warning,) = unknown_names({"WORKER_\x1b[31m\n": "1"})

    assert warning.isprintable()


def test_misspelled_variable_is_a_warning_with_the_nearest_name() -> None:
    warnings = unknown_names({**URLS, "WORKER_BATCHSIZE": "1", "WORKER_XYZZY": "2", "OTHER": "3"})

    assert warnings == [
        "WORKER_BATCHSIZE is no setting, did you mean WORKER_BATCH_SIZE?",
        "WORKER_XYZZY is no setting",
    ]


def test_address_of_a_service_that_kubernetes_has_put_in_place_of_a_setting_is_named_for_what_it_is() -> None:
    (line,) = faults(WORKER_HEALTH_PORT="tcp://10.0.0.1:8003")

    assert line == (
        "WORKER_HEALTH_PORT: 'tcp://10.0.0.1:8003' is the address of a service worker-health"
        " that Kubernetes has put there; set enableServiceLinks: false in the pod's spec,"
        " or WORKER_HEALTH_PORT itself"
    )


def test_variables_that_kubernetes_makes_of_a_service_are_no_warning() -> None:
    of_a_service = {
        "WORKER_SERVICE_HOST": "10.0.0.1",
        "WORKER_SERVICE_PORT": "8003",
        "WORKER_SERVICE_PORT_HTTP": "8003",
        "WORKER_PORT": "tcp://10.0.0.1:8003",
        "WORKER_PORT_8003_TCP": "tcp://10.0.0.1:8003",
        "WORKER_PORT_8003_TCP_PROTO": "tcp",
        "WORKER_PORT_8003_TCP_PORT": "8003",
        "WORKER_PORT_8003_TCP_ADDR": "10.0.0.1",
    }

    assert unknown_names(of_a_service) == []
    assert unknown_names({"WORKER_PORT": "8003"}) != []


def test_known_variables_are_no_warning() -> None:
    assert unknown_names({variable(name): "x" for name in Settings.__struct_fields__}) == []


def test_venue_without_an_address_is_refused_together_with_other_faults() -> None:
    lines = faults(WORKER_EXECUTOR="venue", WORKER_BATCH_SIZE="0")

    assert sorted(line.partition(":")[0] for line in lines) == ["WORKER_BATCH_SIZE", "WORKER_VENUE_URL"]
    assert "WORKER_VENUE_URL: is not set, and WORKER_EXECUTOR is venue" in lines


def test_bad_address_of_the_venue_is_named_once_and_not_shown() -> None:
    assert faults(WORKER_EXECUTOR="venue", WORKER_VENUE_URL="mail:hidden") == [
        "WORKER_VENUE_URL: must begin with one of http://, https://"
    ]


def test_address_of_the_venue_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("https://me:hidden@venue/api\n", encoding="utf-8")

    made = accepted(WORKER_EXECUTOR="venue", WORKER_VENUE_URL_FILE=str(file))

    assert made.venue_url is not None
    assert made.venue_url.get_secret_value() == "https://me:hidden@venue/api"
    assert ":hidden" not in f"{made!r}{made}{asdict(made)}"
    assert unknown_names({"WORKER_VENUE_URL_FILE": str(file)}) == []
