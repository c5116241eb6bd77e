"""`worker migrate --await`: others migrate, and whoever needs the schema waits for it."""

import sys
from pathlib import Path

import pytest

from tests.commands import command
from tests.harness import Deployment, eventually
from tests.migrating import execute, relations, role
from tests.processes import WorkerProcess
from worker.store import migrations

AWAIT = (sys.executable, "-m", "worker", "migrate", "--await", "60")


def test_whoever_awaits_the_schema_goes_on_when_another_has_migrated(
    empty_database: Deployment, tmp_path: Path
) -> None:
    waiting = WorkerProcess(empty_database, tmp_path / "await.log", AWAIT)
    try:
        eventually(lambda: "waiting until another has migrated the schema" in waiting.said)
        assert waiting.is_running

        migrations.upgrade(empty_database.database)

        assert waiting.wait() == 0
    finally:
        waiting.end()
    assert waiting.said.endswith("schema: current\n")


@pytest.mark.as_administrator
@pytest.mark.past_the_pooler
def test_whoever_awaits_the_schema_awaits_the_rights_to_look_at_it(
    empty_database: Deployment, tmp_path: Path
) -> None:
    migrations.upgrade(empty_database.database)
    with role(empty_database) as unprivileged:
        waiting = WorkerProcess(unprivileged, tmp_path / "await.log", AWAIT)
        try:
            eventually(lambda: "permission denied" in waiting.said)
            assert waiting.is_running

            execute(empty_database, "GRANT SELECT ON orders_worker_version TO PUBLIC")

            assert waiting.wait() == 0
        finally:
            waiting.end()


def test_schema_that_nobody_migrates_is_not_awaited_for_ever(empty_database: Deployment) -> None:
    done = command(empty_database, "migrate", "--await", "0.3")

    assert done.exit_code == 78
    assert "the database schema is behind this version" in done.stderr
    assert not relations(empty_database)


def test_schema_that_is_there_is_not_waited_for(deployment: Deployment) -> None:
    done = command(deployment, "migrate", "--await", "60", "--json")

    assert (done.exit_code, done.stdout) == (0, '{"schema": "current"}\n')


def test_looking_once_and_waiting_exclude_each_other(deployment: Deployment) -> None:
    done = command(deployment, "migrate", "--await", "1", "--dry-run")

    assert done.exit_code == 2
    assert "give one of them" in done.stderr
