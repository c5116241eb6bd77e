"""Environments with values known to be good or known to be bad, and URLs with secrets in every place."""

from typing import NamedTuple

from tests.faults.fuzz.entries import Chance, altered
from worker.domain.pruning import LEAST_WINDOW_S
from worker.settings import Settings, variable

SECRET = "s3cr3t"
NUMBERS = {
    "batch_size": (1, 10_000), "block_ms": (1, 60_000), "lease_ms": (100, 3_600_000),
    "max_deliveries": (3, 1000), "batch_bytes": (65_536, 1_073_741_824),
    "max_entry_bytes": (1024, 16_777_216), "max_entry_fields": (1, 1000), "max_entry_depth": (1, 100),
    "max_integer_digits": (1, 20), "max_fraction_digits": (0, 30), "orders_keep_s": (0, 315_360_000),
    "letters_keep_s": (0, 315_360_000), "rows_keep_s": (0, 3_153_600_000),
    "dedupe_window_s": (LEAST_WINDOW_S, 3_153_600_000),
    "results_maxlen": (0, 1_000_000_000), "repair_window_s": (0, 31_536_000), "health_port": (1, 65_535),
    "transaction_timeout_s": (1, 3600), "execute_timeout_s": (1, 3600), "drain_timeout_s": (1, 3600),
    "start_timeout_s": (0, 86_400), "idle_check_s": (0, 86_400), "connection_max_age_s": (0, 31_536_000),
    "max_order_age_s": (0, 31_536_000), "paper_success_rate": (0, 1), "paper_latency_ms": (0, 60_000),
}  # fmt: skip
KEYS = (
    "orders_stream",
    "results_stream",
    "dead_letter_stream",
    "results_channel",
    "group",
    "consumer",
    "order_id_field",
)
URLS = ("redis_url", "database_url", "venue_url")
NO_NUMBERS = (
    "", " ", "abc", "NaN", "nan", "Infinity", "-inf", "1e999", "0x10", "1,5", "--1", "1_", "\u0661",
    "9" * 5000, "1\0", "true", "\udcff", "None", "[]", "\x1b[31m", "1\n2", "-1", "x" * 100_000,
)  # fmt: skip
NO_KEYS = (
    "",
    " ",
    "a b",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "x" * 101,
    "\u2028",
    "\udcff",
    "\u200b",
    "\xa0",
    "\x7f",
)
SCHEMES = {
    "redis_url": ("redis://", "rediss://"),
    "database_url": ("postgres://", "postgresql://", "postgresql+psycopg://"),
    "venue_url": ("http://", "https://"),
}
NO_SCHEMES = (
    "",
    "http:/",
    "mysql://",
    "REDIS://",
    "redis:",
    "postgresqll://",
    "sqlite://",
    "file:///",
    " redis://",
    "//",
    "-",
)
BAD_TAILS = ("\n", "\0", "%00", "%0a", "\x1b[31m", "%7f")
OTHERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "log_level": (("DEBUG", "INFO", "WARNING", "ERROR"), ("info", "", "LOUD", "0", "\udcff")),
    "log_format": (("json", "console"), ("JSON", "", "xml", "\0")),
    "executor": (("paper", "a.b:C"), ("",)),
    "credentials": (("a:b", "a.b:_c"), ("", "a", "a:", ":b", "a b:c", "\0", "\udcff")),
    **dict.fromkeys(
        ("allow_eviction", "allow_volatile", "pages"),
        (("1", "0", "true", "false"), ("", "2", "maybe", "\0", "\udcff")),
    ),
    **dict.fromkeys(
        ("read_token", "admin_token"),
        (
            (f"{SECRET}-0123456789", "x" * 256),
            ("", SECRET, "x" * 257, f"{SECRET} 0123456789", "\N{ROCKET}" * 20),
        ),
    ),
    "hidden_fields": (("email", "email, Client_ID"), ("order_id", "a,,b", "\0", "x" * 5000)),
    "health_host": (("127.0.0.1", "::", "a b"), ("",)),
    "source": (("desk-7", "a:b/c.d", "x" * 80), ("", "a b", "x" * 81, "{a}", "\N{ROCKET}", "\udcff", "\0")),
}


class Drawn(NamedTuple):
    """An environment, the variables in it that are bad by themselves, and those nobody can tell of."""

    variables: dict[str, str]
    bad: frozenset[str]
    unsure: frozenset[str]


def environment(chance: Chance) -> Drawn:
    """Draw one: each setting left out, good, bad, or altered so that nobody can say which."""
    variables: dict[str, str] = {}
    bad, unsure = set(), set()
    share = chance.choice((0.0, 0.1, 0.5, 1.0))
    for field in Settings.__struct_fields__:
        name = variable(field)
        needed = field in {"redis_url", "database_url"}
        how = chance.choice(("good", "bad", "altered")) if chance.random() < share else "left out"
        if how == "left out" and needed and chance.random() < 0.9:
            how = "good"
        if how == "left out":
            bad |= {name} if needed else set()
        elif how == "bad":
            variables[name] = _bad(chance, field)
            bad.add(name)
        else:
            variables[name] = _good(chance, field)
            if how == "altered":
                raw = variables[name].encode("utf-8", "surrogateescape")
                variables[name] = altered(chance, raw).decode("utf-8", "surrogateescape")
                unsure.add(name)
    for _ in range(chance.choice((0, 0, 3))):
        junk = chance.randbytes(chance.choice((0, 3, 40))).decode("utf-8", "surrogateescape")
        variables[f"WORKER_{junk}"] = f"{SECRET}{junk}"
    return Drawn(variables, frozenset(bad), frozenset(unsure))


def _good(chance: Chance, field: str) -> str:
    if field in NUMBERS:
        least, most = NUMBERS[field]
        return str(chance.choice((least, most, chance.randint(least, most))))
    if field in KEYS:
        return field + chance.choice(("", ":x", "{tag}", "\N{ROCKET}", "%s"))
    if field in URLS:
        return _url(chance, field)
    return chance.choice(OTHERS[field][0])


def _bad(chance: Chance, field: str) -> str:
    if field in NUMBERS:
        least, most = NUMBERS[field]
        return chance.choice(
            (*NO_NUMBERS, str(most + 1), str(most * 10**9 + 1), str(least - 1) if least > 0 else "-0.5")
        )
    if field in KEYS:
        return chance.choice(NO_KEYS)
    if field in URLS:
        if chance.random() < 0.5:
            return chance.choice(NO_SCHEMES) + _url(chance, field).partition("//")[2]
        return _url(chance, field) + chance.choice(BAD_TAILS)
    return chance.choice(OTHERS[field][1])


def _url(chance: Chance, field: str) -> str:
    password = f"{SECRET}{chance.choice(('', '%2F', '%40', '!', '%25'))}"
    user = chance.choice(("", "me", f"{SECRET}-user"))
    host = chance.choice(("host", "h.example", "127.0.0.1", "[::1]", f"{SECRET}.example"))
    port = chance.choice(("", ":1", ":6379", ":65535"))
    path = {
        "redis_url": ("", "/0", "/15"),
        "database_url": ("", "/base", "/a-b"),
        "venue_url": ("", "/", f"/{SECRET}"),
    }
    return f"{chance.choice(SCHEMES[field])}{user}:{password}@{host}{port}{chance.choice(path[field])}"
