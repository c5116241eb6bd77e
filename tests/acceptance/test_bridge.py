"""`worker bridge` as a process between real publishers and a real worker."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.directory import free_port
from tests.acceptance.test_commands import worker
from tests.harness import Deployment, assert_invariants, eventually, sample_orders
from tests.integration.test_bridge import added, cut_all, legacy, publish
from tests.processes import WorkerProcess, workers

HEARS = "hearing the channel"


@contextmanager
def bridges(
    deployment: Deployment, folder: Path, count: int = 1, **overrides: object
) -> Iterator[list[WorkerProcess]]:
    command = (sys.executable, "-m", "worker", "bridge", "--channel", legacy(deployment))
    with ExitStack() as stack:
        started = []
        for number in range(count):
            log = folder / f"bridge-{number}-{free_port()}.log"
            process = WorkerProcess(deployment, log, command, **overrides)
            stack.callback(process.end)
            eventually(lambda process=process: HEARS in process.said)  # type: ignore[misc]
            started.append(process)
        yield started


def numbered(count: int) -> list[bytes]:
    """Orders without an order id: executed twice if they are added twice."""
    samples = sample_orders()
    return [json.dumps({**samples[n % len(samples)], "signal_id": str(n)}).encode() for n in range(count)]


def account(process: WorkerProcess) -> dict[str, Any]:
    return next(event for event in process.events if event["event"] == "bridge stopped")


def test_published_orders_are_executed_and_their_results_reach_stream_and_channel(
    deployment: Deployment, tmp_path: Path
) -> None:
    results = deployment.key("results-channel")
    reader: Any = deployment.redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    reader.subscribe(results)
    reader.get_message(timeout=5)

    with (
        bridges(deployment, tmp_path, 2) as running,
        workers(deployment, tmp_path, 1, results_channel=results) as (replica,),
    ):
        publish(deployment, numbered(1000))
        eventually(lambda: len(deployment.published()) == 1000)
        eventually(deployment.all_settled)
        codes = [process.drain() for process in (*running, replica)]

    read: list[dict[str, str]] = []
    while len(read) < 1000 and (message := reader.get_message(timeout=5)) is not None:
        read.append(json.loads(message["data"]))
    reader.close()
    deployment.accepted += [entry_id for entry_id, _ in deployment.entries(deployment.orders)]
    assert codes == [0, 0, 0]
    assert [result["order_id"] for result in read] == [each["order_id"] for each in deployment.published()]
    assert_invariants(deployment, replica.tally)


def test_junk_becomes_dead_letters_with_its_bytes(deployment: Deployment, tmp_path: Path) -> None:
    junk = [b"", b"not JSON", b"[1]", b"\xff\xfe", b'{"symbol": "A\\u0000"}', b"\0", b"{" * 1000]
    large = b'{"reason": "%s"}' % (b"x" * 1_000_000)

    with bridges(deployment, tmp_path) as (bridge,), workers(deployment, tmp_path, 1) as (replica,):
        publish(deployment, [*junk, large])
        eventually(lambda: len(deployment.letters()) == len(junk) + 1)
        assert (bridge.drain(), replica.drain()) == (0, 0)

    letters = deployment.letters()
    assert [letter.get("orig:payload") for letter in letters[:-1]] == junk
    assert {letter["reason"] for letter in letters} == {b"undecodable", b"too_large"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_that_was_published_before_the_signal_is_added(
    deployment: Deployment, tmp_path: Path, number: int
) -> None:
    messages = numbered(20_000)

    with bridges(deployment, tmp_path) as (bridge,):
        publish(deployment, messages)
        bridge.signal(number)
        code = bridge.wait()

    assert code == 0, bridge.said
    assert added(deployment) == messages
    assert (account(bridge)["added"], account(bridge)["lost"]) == (20_000, 0)


def test_nothing_is_lost_or_doubled_when_one_of_two_bridges_is_killed(
    deployment: Deployment, tmp_path: Path
) -> None:
    messages = numbered(20_000)

    with bridges(deployment, tmp_path, 2) as (killed, staying):
        publish(deployment, messages[:10_000])
        killed.signal(signal.SIGKILL)
        publish(deployment, messages[10_000:])
        assert staying.drain() == 0

    assert added(deployment) == messages


def test_nothing_is_lost_or_doubled_when_a_bridge_is_replaced_under_load(
    deployment: Deployment, tmp_path: Path
) -> None:
    messages = numbered(15_000)

    with bridges(deployment, tmp_path) as (old,):
        publish(deployment, messages[:5000])
        with bridges(deployment, tmp_path) as (new,):
            publish(deployment, messages[5000:10_000])
            old.signal(signal.SIGTERM)
            publish(deployment, messages[10_000:])
            assert (old.wait(), new.drain()) == (0, 0)

    assert Counter(added(deployment)) == Counter(messages)


def test_bridge_that_was_stopped_while_another_added_adds_nothing_twice(
    deployment: Deployment, tmp_path: Path
) -> None:
    messages = numbered(5000)

    with bridges(deployment, tmp_path, 2) as (sleeper, other):
        sleeper.signal(signal.SIGSTOP)
        eventually(sleeper.is_stopped)
        publish(deployment, messages)
        eventually(lambda: len(added(deployment)) == len(messages))
        sleeper.signal(signal.SIGCONT)
        assert (sleeper.drain(), other.drain()) == (0, 0)

    assert added(deployment) == messages
    assert (account(sleeper)["received"], account(sleeper)["added"]) == (5000, 0)


def test_cut_connection_is_said_and_the_bridge_goes_on(deployment: Deployment, tmp_path: Path) -> None:
    with bridges(deployment, tmp_path) as (bridge,):
        publish(deployment, [b"before"])
        cut_all(deployment)
        publish(deployment, [b"lost"])
        eventually(lambda: "hearing the channel again" in bridge.said)
        publish(deployment, [b"after"])
        assert bridge.drain() == 0

    assert added(deployment) == [b"before", b"after"]
    (again,) = [event for event in bridge.events if event["event"] == "hearing the channel again"]
    assert (again["level"], again["gap_s"] > 0, account(bridge)["gaps"]) == ("warning", True, 1)


def test_messages_are_not_in_the_log_unless_they_are_lost(deployment: Deployment, tmp_path: Path) -> None:
    with bridges(deployment, tmp_path) as (bridge,):
        publish(deployment, [b"S3NT1NEL"] * 1000)
        assert bridge.drain() == 0

    assert "S3NT1NEL" not in bridge.said
    assert len(bridge.events) < 6


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--channel"),
        (["--channel", ""], 2, "no name of a channel"),
        (["--channel", "a\x1b[2J"], 2, "no name of a channel"),
        (["--channel", "a", "--memory", "0"], 2, "--memory"),
        (["--channel", "results"], 78, "WORKER_RESULTS_CHANNEL"),
    ],
)
def test_bad_start_is_one_line(deployment: Deployment, arguments: list[str], code: int, says: str) -> None:
    done = worker(deployment, "bridge", *arguments, results_channel="results")

    assert done.returncode == code
    assert says in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_start_ends_with_one_line_when_redis_is_unreachable(deployment: Deployment) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        environment = deployment.process_environment() | {
            "REDIS_URL": f"redis://:S3NT1NEL@127.0.0.1:{nobody.getsockname()[1]}/0"
        }
        done = subprocess.run(
            [sys.executable, "-m", "worker", "bridge", "--channel", "a"],
            env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "S3NT1NEL" not in done.stdout + done.stderr


def test_start_refuses_orders_that_are_no_stream(deployment: Deployment) -> None:
    deployment.redis.set(deployment.orders, "no stream")

    done = worker(deployment, "bridge", "--channel", legacy(deployment))

    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert "no stream but a string" in line
