"""The local servers themselves: they keep what they were given, and they leave nothing behind."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from local import LocalPostgres, LocalRedis, LocalServerFailed, local_servers
from local.directory import held
from local.lifecycle import LocalServer
from local.postgres import postgres_answers
from local.process_table import children_of, process_table
from local.redis import redis_answers
from tests.harness import eventually

STARTER = """
import sys
from pathlib import Path
from tests.harness import eventually
from local import LocalPostgres, LocalRedis

servers = [LocalRedis(Path(sys.argv[1]) / "redis"), LocalPostgres(Path(sys.argv[1]) / "postgres")]
for server in servers:
    server.start()
if sys.argv[2] == "paused":
    for server in servers:
        server.pause()
print("up", flush=True)
sys.stdin.read()
"""

LEAVE_WHEN_INTERRUPTED = """
import os
import signal
import sys

def leave(*_):
    # Not by print: the signal may come in the middle of the other one.
    os.write(1, b"interrupted\\n")
    sys.exit(5)

signal.signal(signal.SIGINT, leave)
os.write(1, b"up\\n")
sys.stdin.read()
"""


@pytest.fixture(params=[LocalRedis, LocalPostgres], ids=["redis", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalServer]:
    server: LocalServer = request.param(tmp_path / "server")
    yield server
    server.kill()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    server = LocalPostgres(tmp_path / "server")
    server.start()
    yield server
    server.kill()


def _answers(url: str) -> bool:
    return redis_answers(url) if url.startswith("redis:") else postgres_answers(url)


def _redis(url: str) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5, decode_responses=True)


def _write(server: LocalServer) -> None:
    if isinstance(server, LocalRedis):
        with closing(_redis(server.url)) as redis:
            redis.set("kept", "yes")
    else:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'yes' AS kept")


def _read(server: LocalServer) -> object:
    if isinstance(server, LocalRedis):
        with closing(_redis(server.url)) as redis:
            return redis.get("kept")
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT kept FROM kept").fetchone()
    return row and row[0]


def test_server_keeps_what_was_written_when_it_is_killed(server: LocalServer) -> None:
    server.start()
    _write(server)
    url = server.url

    server.kill()
    server.start()

    assert server.url == url
    assert _read(server) == "yes"


def test_server_keeps_what_was_written_when_it_is_stopped_and_a_new_object_starts_it(
    server: LocalServer,
) -> None:
    server.start()
    _write(server)
    url = server.url

    server.stop()
    successor = type(server)(server.directory)
    successor.start()
    kept = _read(successor)
    successor.stop()

    assert successor.url == url
    assert kept == "yes"


def test_server_starts_again_when_somebody_else_has_killed_it(server: LocalServer) -> None:
    server.start()
    _write(server)

    os.kill(server.pid, signal.SIGKILL)
    with held(server.directory / "lock", 10, "some of its processes remain"):
        pass
    # A process lets go of its files before its parent hears that it has ended.
    eventually(lambda: not server.is_running)
    server.start()

    assert _read(server) == "yes"


def test_server_is_silent_while_paused_and_answers_when_resumed(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
    server.start()

    server.pause()
    answered_while_paused = _answers(server.url)
    server.resume()

    assert not answered_while_paused
    assert _answers(server.url)


def test_server_stands_still_with_all_its_children_when_paused(server: LocalServer) -> None:
    server.start()
    family = [server.pid, *children_of(server.pid)]

    server.pause()

    table = process_table()
    assert all(table[pid].inert for pid in family if pid in table)


def test_server_stops_in_good_order_when_it_is_paused(server: LocalServer) -> None:
    server.start()
    server.pause()

    server.stop()

    assert not server.is_running
    assert "shut down" in server.log.read_text() or "ready to exit" in server.log.read_text()


def test_server_refuses_a_wrong_password(server: LocalServer) -> None:
    server.start()
    url = server.url.replace(server.password, "wrong")

    if isinstance(server, LocalRedis):
        with closing(_redis(url)) as redis, pytest.raises(AuthenticationError):
            redis.ping()
    else:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)


def test_server_keeps_its_password_to_its_owner(server: LocalServer) -> None:
    server.start()

    holders = [
        file
        for file in server.directory.glob("*")
        if file.is_file() and server.password in file.read_text(errors="replace")
    ]

    assert holders
    assert {stat.S_IMODE(file.stat().st_mode) for file in holders} == {0o600}
    assert server.password not in subprocess.check_output(["/bin/ps", "-A", "-ww", "-o", "args"], text=True)


def test_server_is_refused_a_directory_that_another_works_on(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.lifecycle.PREDECESSOR_LIMIT_S", 0.1)
    server.start()

    with pytest.raises(LocalServerFailed, match="still works on"):
        type(server)(server.directory).start()

    assert _answers(server.url)


def test_server_shows_the_end_of_its_log_when_it_does_not_start(server: LocalServer) -> None:
    server.start()
    server.stop()
    if isinstance(server, LocalPostgres):
        (server.data / "postgresql.conf").write_text("no_such_setting = on\n")
        complaint = "no_such_setting"
    else:
        for file in (server.directory / "data").rglob("*.aof"):
            file.write_text("rubbish\n" * 9)
        complaint = "Bad file format"

    with pytest.raises(LocalServerFailed, match=complaint):
        server.start()

    assert not server.is_running


@pytest.mark.parametrize("state", ["running", "paused"])
def test_servers_are_gone_when_the_process_that_started_them_is_killed(tmp_path: Path, state: str) -> None:
    arguments = [sys.executable, "-c", STARTER, str(tmp_path), state]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"

        starter.kill()

    for name in ("redis", "postgres"):
        with held(tmp_path / name / "lock", 10, f"some process of {name} remains"):
            pass


def test_postgres_is_set_up_as_promised(postgres: LocalPostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        settings = {
            name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            for name in ("fsync", "max_connections", "server_encoding", "unix_socket_directories")
        }

    assert settings == {
        "fsync": ("on",),
        "max_connections": ("200",),
        "server_encoding": ("UTF8",),
        "unix_socket_directories": ("",),
    }


def test_postgres_does_not_run_as_root(postgres: LocalPostgres) -> None:
    assert postgres.data.stat().st_uid != 0
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700


def test_postgres_starts_below_a_directory_that_is_closed_to_others_and_leaves_it_so(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = LocalPostgres(closed / "server")

    server.start()
    server.kill()
    server.start()
    answers = postgres_answers(server.url)
    server.stop()

    assert answers
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_postgres_makes_its_cluster_anew_when_it_was_interrupted_in_that(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path / "server")
    unfinished = server.data.with_suffix(".unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("half of one")

    server.start()
    answers = postgres_answers(server.url)
    server.stop()

    assert answers


def test_environment_gets_what_it_lacks_and_the_servers_end_with_it(tmp_path: Path) -> None:
    with local_servers(tmp_path, {"HOME": "/x", "DATABASE_URL": ""}) as environ:
        roster = json.loads((tmp_path / "servers.json").read_text())
        mode = stat.S_IMODE((tmp_path / "servers.json").stat().st_mode)
        answered = [_answers(environ["REDIS_URL"]), _answers(environ["DATABASE_URL"])]

    assert answered == [True, True]
    assert environ["HOME"] == "/x"
    assert {name: entry["url"] for name, entry in roster.items()} == {
        "redis": environ["REDIS_URL"],
        "postgres": environ["DATABASE_URL"],
    }
    assert mode == 0o600
    assert not (tmp_path / "servers.json").exists()
    assert not _answers(environ["REDIS_URL"])
    assert not _answers(environ["DATABASE_URL"])


def test_servers_of_another_run_are_joined_and_left_to_it(tmp_path: Path) -> None:
    given = {"DATABASE_URL_FILE": "/elsewhere"}
    with local_servers(tmp_path, given) as first:
        with local_servers(tmp_path, given) as second:
            pass
        still_up = _answers(first["REDIS_URL"])

    assert second == first
    assert still_up


def test_who_starts_and_who_joins_servers_is_told_where_they_are_and_who_ends_them(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "given"}
    told: list[str] = []

    with local_servers(tmp_path, given, told.append) as environ, local_servers(tmp_path, given, told.append):
        pass

    server = LocalRedis(tmp_path / "redis")
    place = f"REDIS_URL is Redis {server.version} at 127.0.0.1:{urlsplit(environ['REDIS_URL']).port}"
    assert told == [f"{place}, until this command ends", f"{place}, until the command that started it ends"]


def test_line_on_what_runs_where_stands_beside_the_output_and_names_no_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local", "--directory", str(tmp_path), "sh", "-c", 'echo "$REDIS_URL"']

    environ = {**os.environ, "REDIS_URL": "", "REDIS_URL_FILE": "", "DATABASE_URL": "given"}

    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)

    url = urlsplit(done.stdout.strip())
    assert url.password
    assert url.password not in done.stderr
    assert re.fullmatch(rf"REDIS_URL is Redis [\d.]+ at 127\.0\.0\.1:{url.port}, [^\n]+\n", done.stderr)


def test_servers_of_a_run_that_was_killed_are_not_joined(tmp_path: Path) -> None:
    stale = {"redis": {"pid": os.getpid(), "url": "redis://:gone@127.0.0.1:1/0"}}
    (tmp_path / "servers.json").write_text(json.dumps(stale))

    with local_servers(tmp_path, {"DATABASE_URL": "given"}) as environ:
        answered = _answers(environ["REDIS_URL"])

    assert answered


def test_command_gets_the_signals_and_its_exit_code_is_passed_on(tmp_path: Path) -> None:
    environ = {**os.environ, "DATABASE_URL": "given"}
    wrapper_arguments = [sys.executable, "-m", "local", "--directory", str(tmp_path)]
    command = [*wrapper_arguments, sys.executable, "-c", LEAVE_WHEN_INTERRUPTED]
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as wrapper:
        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == b"up\n"

        wrapper.send_signal(signal.SIGINT)
        said = wrapper.stdout.read()

    assert said == b"interrupted\n"
    assert wrapper.returncode == 5
    assert not (tmp_path / "servers.json").exists()
