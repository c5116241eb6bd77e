"""The real commands as a person or a supervisor runs them."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.directory import free_port
from tests.accounts import with_user
from tests.commands import environment_of
from tests.harness import SAMPLE_FILE, Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import ROOT, assert_quiet, said_to_nobody, workers
from tests.skips import Reason, skip


def worker(
    deployment: Deployment, *arguments: str, given: str = "", **overrides: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=ROOT,
        env=environment_of(deployment, *arguments, **overrides),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_submitted_file_is_executed_and_shown(deployment: Deployment, tmp_path: Path) -> None:
    submitted = worker(deployment, "submit", str(SAMPLE_FILE), "--json")
    deployment.accepted += [entry_id for entry_id, _ in deployment.entries(deployment.orders)]

    with workers(deployment, tmp_path, 1) as (replica,):
        eventually(deployment.all_settled)
        status = worker(deployment, "status", "--json")
        assert replica.drain() == 0

    assert json.loads(submitted.stdout) == {"added": 500, "refused": 0, "stream": deployment.orders}
    shown = json.loads(status.stdout)
    assert (shown["redis"]["results"], shown["redis"]["pending"]) == (500, 0)
    assert (shown["database"]["orders"], shown["database"]["schema"]) == (500, "current")
    assert_invariants(deployment)


def test_submit_names_bad_lines_and_adds_the_others(deployment: Deployment) -> None:
    lines = (
        '{"symbol": "A", "side": "BUY", "quantity": 1e-7, "price": null}\nnonsense\n[1]\n{"reason": {}}\n{}\n'
    )

    done = worker(deployment, "submit", "-", given=lines)

    assert done.returncode == 1
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines() if "line " in line] == [
        "line 2", "line 3", "line 4", "line 5",
    ]  # fmt: skip
    ((_, fields),) = deployment.entries(deployment.orders)
    assert fields == [("symbol", b"A"), ("side", b"BUY"), ("quantity", b"1e-7")]


def test_submit_changes_nothing_when_run_dry(deployment: Deployment) -> None:
    done = worker(deployment, "submit", str(SAMPLE_FILE), "--dry-run")

    assert (done.returncode, done.stdout) == (
        0,
        f"checked 500 orders, refused 0 lines, stream {deployment.orders}\n",
    )
    assert deployment.entries(deployment.orders) == []


def test_many_replicas_may_migrate_at_once(empty_database: Deployment) -> None:
    command = [sys.executable, "-m", "worker", "migrate"]
    environment = empty_database.process_environment()

    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(6)
    ]

    said = [process.communicate(timeout=60)[0] for process in running]
    assert said == [b"schema: current\n"] * 6


def test_run_refuses_a_schema_that_is_behind(empty_database: Deployment) -> None:
    done = worker(empty_database, "run", health_port=free_port())

    assert done.returncode == 78
    assert "worker migrate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_run_names_every_bad_setting_at_once_and_no_secret(deployment: Deployment) -> None:
    done = worker(deployment, "run", batch_size="abc", lease_ms=500, health_port=70000)

    assert done.returncode == 78
    assert {line.split(":")[1].strip() for line in done.stderr.splitlines()} == {
        "WORKER_BATCH_SIZE",
        "WORKER_LEASE_MS",
        "WORKER_HEALTH_PORT",
    }


@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
def test_run_ends_with_one_line_when_a_server_is_unreachable(deployment: Deployment, variable: str) -> None:
    scheme = "redis" if variable == "REDIS_URL" else "postgresql"
    environment = deployment.process_environment(health_port=free_port())
    environment[variable] = f"{scheme}://user:S3NT1NEL@127.0.0.1:{free_port()}/0"

    done = subprocess.run(
        [sys.executable, "-m", "worker", "run"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "S3NT1NEL" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_replica_cleanly(deployment: Deployment, tmp_path: Path, number: int) -> None:
    with workers(deployment, tmp_path, 1) as (replica,):
        replica.signal(number)

        assert replica.wait() == 0

    assert replica.events[-1]["event"] == "drained"
    assert deployment.redis.xinfo_consumers(deployment.orders, deployment.group) == []


def test_signal_under_load_leaves_nothing_half_done(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(5000))

    with workers(deployment, tmp_path, 2, batch_size=20) as (leaving, staying):
        eventually(lambda: len(deployment.published()) > 200)
        assert leaving.drain() == 0
        eventually(deployment.all_settled, within=60)
        assert staying.drain() == 0

    assert_invariants(deployment, leaving.tally, staying.tally)


def test_pages_show_a_running_replica(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(50))

    with workers(deployment, tmp_path, 1) as (replica,):
        eventually(lambda: replica.get("/ready")[0] == 200)
        eventually(lambda: json.loads(replica.get("/status")[1])["redis"].get("results") == 50)
        pages = {
            path: replica.get(path)
            for path in ("/health", "/status", "/metrics", "/orders?limit=3", "/nothing")
        }

    assert {path: status for path, (status, _) in pages.items()} == {
        "/health": 200, "/status": 200, "/metrics": 200, "/orders?limit=3": 200, "/nothing": 404,
    }  # fmt: skip
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(pages["/metrics"][1].decode())
        for sample in family.samples
    }
    assert samples["execution_orders_received_total"] == 50
    assert samples["execution_orders_filled_total"] + samples["execution_orders_rejected_total"] == 50
    assert samples["execution_uptime_seconds"] > 0
    assert len(json.loads(pages["/orders?limit=3"][1])["orders"]) == 3


def test_port_in_use_is_a_configuration_error(deployment: Deployment, tmp_path: Path) -> None:
    with workers(deployment, tmp_path, 1) as (first,):
        done = worker(deployment, "run", health_port=first.port)

    assert done.returncode == 78
    assert "WORKER_HEALTH_PORT" in done.stderr


@pytest.mark.past_the_pooler
@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
def test_run_ends_with_one_line_when_a_server_refuses_the_password(
    deployment: Deployment, variable: str
) -> None:
    environment = deployment.process_environment(health_port=free_port())
    url = urlsplit(environment[variable])
    if url.password is None:
        skip(Reason.ASKS_FOR_NO_PASSWORD)
    environment[variable] = with_user(environment[variable], url.username or "", "S3NT1NEL")

    done = subprocess.run(
        [sys.executable, "-m", "worker", "run"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"worker: {variable}: access refused: ")
    assert "S3NT1NEL" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["submit", str(SAMPLE_FILE)], ["--help"]]
)
def test_command_is_quiet_when_nobody_reads_on(deployment: Deployment, command: list[str]) -> None:
    said = said_to_nobody(deployment, command)

    assert_quiet(said)


def test_replica_works_on_quietly_when_nobody_reads_its_logs(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(50))
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "run"],
        cwd=ROOT, env=deployment.process_environment(health_port=free_port()), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()

    eventually(deployment.all_settled)
    deployment.submit([{**order, "order_id": f"later-{n}"} for n, order in enumerate(numbered_orders(50))])
    eventually(deployment.all_settled)
    running.terminate()

    assert running.stderr is not None
    assert running.stderr.read() == b""
    running.stderr.close()
    assert running.wait(timeout=20) == 0
    assert_invariants(deployment)


def test_interrupted_submit_says_how_far_it_came(deployment: Deployment) -> None:
    line = SAMPLE_FILE.read_bytes().splitlines(keepends=True)[0]
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "submit", "-"],
        cwd=ROOT, env=environment_of(deployment, "submit"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdin is not None
    running.stdin.write(line * 700)
    running.stdin.flush()
    eventually(lambda: deployment.redis.xlen(deployment.orders) == 500)

    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=20)

    assert running.returncode == 130
    lines = [line for line in said.decode().splitlines() if line.startswith("worker: ")]
    # Redis may have had them before the command heard of it.
    assert lines[0] == "worker: interrupted"
    assert lines[1] in {
        "worker: 500 orders were added",
        "worker: 0 orders were added; of the 500 after them any part may have been",
    }
    assert b"Traceback" not in said
