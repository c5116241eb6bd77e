"""Generated environments: settings, or one line for each bad variable, all at once, without a secret."""

import statistics
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.fuzz.entries import Chance, altered
from tests.faults.fuzz.environments import NUMBERS, SECRET, URLS, Drawn, environment
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from worker.domain.errors import ConfigurationError
from worker.settings import Settings, read_settings, unknown_names, variable
from worker.store import Database
from worker.stream import RedisLink

ENVIRONMENTS = 1_500
# What is wrong between good values: named too, in lines of their own.
BETWEEN = (
    "must differ",
    "must be longer than",
    "must be at least twice",
    "must be no less than",
    "and WORKER_EXECUTOR is venue",
    "and WORKER_PAGES is off",
)
KNOWN = {variable(field) for field in Settings.__struct_fields__}
LONGEST_LINE = 400


def refused(made: Drawn) -> tuple[Settings | None, list[str]]:
    """The settings of an environment, or the lines it is refused with."""
    try:
        return read_settings(made.variables), []
    except ConfigurationError as error:
        return None, str(error).split("\n")


def test_every_environment_gives_settings_or_names_each_bad_variable_once_without_a_secret() -> None:
    seen = Counter[str]()
    times = []
    for number in numbers(ENVIRONMENTS):
        made = environment(drawn("environment", number))
        began = time.perf_counter()
        settings, lines = refused(made)
        warnings = unknown_names(made.variables)
        times.append(time.perf_counter() - began)
        with case(number, made.variables):
            alone = [line.partition(":")[0] for line in lines if not any(sign in line for sign in BETWEEN)]

            assert made.bad <= set(alone) <= made.bad | made.unsure
            assert len(alone) == len(set(alone))
            assert (settings is None) == bool(lines)
            for line in (*lines, *warnings):
                assert line.isprintable()
                assert len(line) <= LONGEST_LINE
                assert SECRET not in line
            for line in lines:
                assert set(line.partition(":")[0].split(", ")) <= KNOWN
            if settings is not None:
                _assert_taken_over(settings, made)
                assert SECRET not in f"{settings!r}{settings}"
                lines = [_refusal_of_urls(settings)]
                assert SECRET not in lines[0]
                assert lines[0].isprintable()
            seen["read" if settings is not None else "refused"] += 1

    if len(times) > 1:
        assert min(seen["read"], seen["refused"]) > ENVIRONMENTS // 20, seen
    slowest = round(max(times) / statistics.median(times))
    record(
        "fuzz",
        "environments",
        environments=seen.total(),
        slowest_against_median=slowest,
        seed=SEED,
        ends=seen,
    )


def _assert_taken_over(settings: Settings, made: Drawn) -> None:
    for field in NUMBERS:
        name = variable(field)
        if name in made.variables and name not in made.unsure:
            assert getattr(settings, field) == float(made.variables[name])
    for field in URLS:
        url = getattr(settings, field)
        assert url is None or url.get_secret_value() == made.variables[variable(field)]


def _refusal_of_urls(settings: Settings) -> str:
    """What libraries have against the URLs, empty for nothing; nothing connects yet."""
    base, store = settings.database_url.get_secret_value(), settings.redis_url.get_secret_value()
    try:
        Database(base, transaction_timeout_s=1, pool_size=1, application_name="test").close()
        RedisLink(store, block_ms=1, client_name="test").close()
    except ConfigurationError as error:
        return str(error)
    return ""


def spoiled(chance: Chance, folder: Path) -> str:
    """Draw the name of a file that can't hold a URL, or the secret itself by mistake."""
    file = folder / f"{SECRET}-file"
    file.write_bytes(altered(chance, f"redis://:{SECRET}@host".encode()) * chance.choice((1, 1, 3)))
    names = (
        str(file),
        str(folder),
        f"redis://:{SECRET}@host",
        f"{file}/below",
        str(folder / SECRET),
        "x" * 5000,
        f"{file}\0",
        "",
    )
    return chance.choice(names)


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL", "WORKER_VENUE_URL"])
def test_file_of_any_kind_and_content_is_read_or_refused_without_a_secret(name: str, tmp_path: Path) -> None:
    for number in numbers(ENVIRONMENTS // 10):
        chance = drawn("file", number)
        given = {
            "REDIS_URL": "redis://host",
            "DATABASE_URL": "postgresql://host",
            f"{name}_FILE": spoiled(chance, tmp_path),
        }
        if chance.random() < 0.8:
            given.pop(name, None)
        with case(number, given):
            _, lines = refused(Drawn(given, frozenset(), frozenset()))

            assert len(lines) <= 1
            for line in lines:
                assert line.partition(":")[0] in {name, f"{name}_FILE"}
                assert line.isprintable()
                assert SECRET not in line
