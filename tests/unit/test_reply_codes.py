"""The code of an error, as servers of different age say it, in a script and outside."""

from collections.abc import Callable

import pytest
import redis
from redis._parsers.base import BaseParser

from worker.stream.link.codes import code_of

# It makes an error of what a server replies, and of some takes the code away.
as_the_library_says_it: Callable[[str], redis.RedisError] = BaseParser.parse_error
IN_A_SCRIPT = "ERR Error running script (call to f_6989f1b6413990660a110da93dcb5bc4a47d682a): @user_script:1:"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("NOGROUP No such key 's' or consumer group 'g'", "NOGROUP"),
        (f"{IN_A_SCRIPT} NOGROUP No such key 's' or consumer group 'g' in XREADGROUP", "NOGROUP"),
        ("NOGROUP No such key 's' or consumer group 'g' script: on @user_script:1.", "NOGROUP"),
        ("BUSYGROUP Consumer Group name already exists", "BUSYGROUP"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        (f"{IN_A_SCRIPT} @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("@user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("READONLY You can't write against a read only replica.", "READONLY"),
        (
            f"{IN_A_SCRIPT} @user_script: 1: -READONLY You can't write against a read only replica.",
            "READONLY",
        ),
        ("@user_script: 1: -NOREPLICAS Not enough good replicas to write.", "NOREPLICAS"),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN"),
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("NOPERM this user has no permissions to run the 'set' command", "NOPERM"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT"),
    ],
)
def test_code_is_found_whether_the_library_or_a_script_hides_it(said: str, code: str) -> None:
    assert code_of(as_the_library_says_it(said)) == code


@pytest.mark.parametrize(
    "said",
    [
        "ERR unknown command 'OOM', with args beginning with: 'NOGROUP'",
        f"{IN_A_SCRIPT} @user_script: 1: The user executing the script can't run this command or subcommand",
        "ERR value of READONLY is not an integer",
        "",
    ],
)
def test_code_that_stands_elsewhere_in_an_error_is_none(said: str) -> None:
    assert not code_of(as_the_library_says_it(said)).isupper()


def test_code_is_found_behind_the_command_of_a_pipeline() -> None:
    with redis.Redis() as client, client.pipeline(transaction=False) as pipeline:
        error = as_the_library_says_it("NOGROUP No such key 's' or consumer group 'g'")
        pipeline.annotate_exception(error, 1, ("XPENDING", "orders (old)", "execution"))

    assert "XPENDING" in str(error)
    assert code_of(error) == "NOGROUP"


def test_connection_that_ended_has_no_code() -> None:
    assert not code_of(redis.ConnectionError("Connection closed by server.")).isupper()
