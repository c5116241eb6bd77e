"""The environment that the real commands are given: odd passwords, odd files, names that do not exist."""

import subprocess
import sys
from pathlib import Path

import pytest

from local.directory import free_port
from tests.accounts import users
from tests.commands import environment_of
from tests.harness import Deployment
from tests.processes import ROOT

ODD = "p@ss/w:o#r?d% é+'"


def worker(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_percent_encoded_password_is_the_one_that_is_sent(deployment: Deployment, scheme: str) -> None:
    with users(deployment, ODD) as urls:
        environment = environment_of(deployment, "status") | urls
        rest = environment["DATABASE_URL"].partition("://")[2]
        done = worker({**environment, "DATABASE_URL": f"{scheme}://{rest}"}, "status", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert "pass" not in done.stdout


def test_misspelled_variable_is_a_warning_and_no_error(deployment: Deployment) -> None:
    environment = {**environment_of(deployment, "status"), "WORKER_BATCHSIZE": "7"}

    done = worker(environment, "status", "--json")

    assert done.returncode == 0
    assert done.stderr == "worker: warning: WORKER_BATCHSIZE is no setting, did you mean WORKER_BATCH_SIZE?\n"


def test_first_of_several_hosts_that_answers_is_the_database(deployment: Deployment) -> None:
    environment = environment_of(deployment, "status")
    scheme, _, rest = environment["DATABASE_URL"].partition("://")
    account, _, place = rest.rpartition("@")
    host, slash, name = place.partition("/")
    several = f"{scheme}://{account}@127.0.0.1:{free_port()},{host}{slash}{name}"
    sought = f"{several}{'&' if '?' in several else '?'}target_session_attrs=read-write"

    done = worker({**environment, "DATABASE_URL": sought}, "status", "--json")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variable", ["REDIS_URL", "DATABASE_URL"])
@pytest.mark.parametrize("kind", ["missing", "directory", "both"])
def test_file_of_a_url_that_can_not_be_used_is_one_line(
    deployment: Deployment, tmp_path: Path, variable: str, kind: str
) -> None:
    environment = deployment.process_environment()
    file = tmp_path / "url"
    if kind == "directory":
        file.mkdir()
    elif kind == "both":
        file.write_text(environment[variable], encoding="utf-8")
    if kind != "both":
        del environment[variable]
    environment[f"{variable}_FILE"] = str(file)

    done = worker(environment, "run")

    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"worker: {variable}")


def test_run_ends_with_one_line_when_a_key_of_another_type_stands_at_the_streams_name(
    deployment: Deployment,
) -> None:
    deployment.redis.set(deployment.orders, "no stream")

    done = subprocess.run(
        [sys.executable, "-m", "worker", "run"],
        cwd=ROOT, env=deployment.process_environment(health_port=free_port()), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "WRONGTYPE" in line
