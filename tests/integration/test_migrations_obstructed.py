"""A database with others' tables, or ours in the wrong place: nothing is changed, a way round is shown."""

import json
import re

import pytest
from sqlalchemy import Connection

from local.directory import free_port
from tests.commands import command
from tests.harness import Deployment, eventually
from tests.inprocess import running, seen
from tests.migrating import ask, execute, made_by_the_last_version, migrating, relations, role, watched
from worker.domain.database_state import SchemaStanding, SchemaState
from worker.store import migrations, schema

ALEMBIC = "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)"
OURS = "INSERT INTO alembic_version VALUES ('0001')"
STRANGERS = {
    "another program's revision": (
        [ALEMBIC, "INSERT INTO alembic_version VALUES ('d259a9bca9e7')"],
        "table alembic_version at revision 'd259a9bca9e7'",
    ),
    "several revisions": (
        [ALEMBIC, OURS, "INSERT INTO alembic_version VALUES ('0002')"],
        "table alembic_version at revision '0001' and '0002'",
    ),
    "our revision without our tables": ([ALEMBIC, OURS], "table alembic_version at revision '0001'"),
    "our revision beside other tables": (
        [ALEMBIC, OURS, "CREATE TABLE orders (order_id text, total numeric)", "CREATE TABLE trades ()"],
        "table orders, table trades, table alembic_version at revision '0001'",
    ),
    "another form of alembic's table": (
        ["CREATE TABLE alembic_version (name text)"],
        "alembic_version, which can't be read",
    ),
    "a table": (["CREATE TABLE orders (id int PRIMARY KEY)"], "table orders"),
    "an empty record and a table": ([ALEMBIC, "CREATE TABLE order_sources ()"], "table order_sources"),
    "a partitioned table": (["CREATE TABLE orders (id int) PARTITION BY HASH (id)"], "table orders"),
    "a view": (["CREATE VIEW trades AS SELECT 1 AS trade_id"], "view trades"),
    "a materialized view": (["CREATE MATERIALIZED VIEW trades AS SELECT 1"], "materialized view trades"),
    "a type": (["CREATE TYPE orders AS ENUM ('a')"], "type orders"),
    "a sequence": (["CREATE SEQUENCE order_sources"], "sequence order_sources"),
}


def line_of(found: str) -> str:
    """The one line on standard error."""
    (line,) = found.splitlines()
    assert line.startswith("worker: ")
    return line.removeprefix("worker: ")


def advice_of(line: str) -> list[str]:
    """The SQL that a line of advice ends with."""
    match = re.search(r"(CREATE SCHEMA|ALTER ROLE) .*", line)
    assert match is not None, line
    return match[0].split("; ")


@pytest.mark.parametrize(("statements", "named"), STRANGERS.values(), ids=STRANGERS)
def test_migration_is_refused_and_changes_nothing_when_the_schema_is_somebody_elses(
    empty_database: Deployment, statements: list[str], named: str
) -> None:
    execute(empty_database, *statements)
    before = relations(empty_database)

    done = [command(empty_database, "migrate", *more) for more in ((), ("--dry-run",), ("--json",))]

    assert [each.exit_code for each in done] == [78] * 3
    assert [each.output for each in done] == [done[0].output] * 3
    line = line_of(done[0].stderr)
    assert f"schema public has what is not this worker's, {named};" in line
    assert line.endswith("SET search_path = orders_worker")
    assert relations(empty_database) == before


@pytest.mark.parametrize(
    "found",
    ["another program's revision", "our revision without our tables", "our revision beside other tables"],
)
def test_replica_is_refused_in_one_line_when_the_record_of_migrations_is_somebody_elses(
    empty_database: Deployment, found: str
) -> None:
    """Proves that a replica's start on such a database says what is there and the way out, and no more."""
    statements, named = STRANGERS[found]
    execute(empty_database, *statements)
    before = relations(empty_database)

    done = command(empty_database, "run", health_port=free_port())

    assert done.exit_code == 78
    line = line_of(done.output)
    assert f"schema public has what is not this worker's, {named};" in line
    assert line.endswith("SET search_path = orders_worker")
    assert done.output == command(empty_database, "migrate").output
    assert relations(empty_database) == before


def test_every_command_says_the_same_line_when_the_schema_is_somebody_elses(
    empty_database: Deployment,
) -> None:
    execute(empty_database, "CREATE TABLE orders ()")
    expected = line_of(command(empty_database, "migrate").stderr)

    for arguments in (("run",), ("audit",)):
        done = command(empty_database, *arguments, health_port=free_port())
        assert (done.exit_code, expected in done.stderr) == (78, True), done.output
        assert "Traceback" not in done.output
    status = command(empty_database, "status")
    shown = json.loads(command(empty_database, "status", "--json").stdout)

    assert status.exit_code == 1
    assert "schema obstructed" in status.stdout
    assert expected in status.stdout.splitlines()[0]
    assert shown["verdict"]["conditions"][0]["name"] == "schema_obstructed"


@pytest.mark.as_administrator
@pytest.mark.past_the_pooler
def test_advice_leads_to_tables_of_the_workers_own(empty_database: Deployment) -> None:
    execute(empty_database, *STRANGERS["our revision beside other tables"][0])
    before = relations(empty_database)
    with role(empty_database) as unprivileged:
        execute(empty_database, *advice_of(line_of(command(unprivileged, "migrate").stderr)))

        done = command(unprivileged, "migrate")

        assert (done.exit_code, done.stdout) == (0, "schema: current\n")
        made = relations(empty_database) - before
        assert before <= relations(empty_database)
        assert all(" orders_worker." in each for each in made)
        assert any(" orders_worker.orders " in each for each in made)
        with running(unprivileged) as made_of_them:
            database = made_of_them.checks.database
            eventually(lambda: seen(database, lambda state: state.schema.state) is SchemaState.CURRENT)


@pytest.mark.as_administrator
@pytest.mark.past_the_pooler
def test_record_that_may_not_be_read_is_in_the_way(empty_database: Deployment) -> None:
    execute(empty_database, ALEMBIC, OURS)
    with role(empty_database) as unprivileged:
        done = command(unprivileged, "migrate")

    assert done.exit_code == 78
    assert "alembic_version, which can't be read" in line_of(done.stderr)


def test_record_of_others_that_is_empty_is_in_nobodys_way(empty_database: Deployment) -> None:
    execute(empty_database, ALEMBIC)

    migrations.upgrade(empty_database.database)

    assert schema.schema_state(empty_database.database) is SchemaState.CURRENT
    assert ask(empty_database, "SELECT version_num FROM alembic_version") == []


@pytest.mark.parametrize("made_before", [True, False])
def test_migration_that_goes_on_while_somebody_looks_is_in_nobodys_way(
    empty_database: Deployment, *, made_before: bool
) -> None:
    if made_before:
        made_by_the_last_version(empty_database)
    looks: list[str] = []

    def migrate(looking: Connection, statement: str) -> None:
        if "to_regclass" in statement and not looks:
            looks.append(statement)
            # The index waits for whoever is still reading rows.
            looking.exec_driver_sql("SELECT 1")
            with migrating(empty_database):
                pass

    with watched("after", migrate):
        found = schema.standing(empty_database.database)

    assert found == SchemaStanding(SchemaState.CURRENT)


@pytest.mark.as_administrator
def test_schemas_behind_the_first_of_the_search_path_are_in_nobodys_way(empty_database: Deployment) -> None:
    execute(
        empty_database,
        *STRANGERS["another program's revision"][0],
        "CREATE TABLE orders ()",
        "CREATE SCHEMA ahead",
        f'ALTER DATABASE "{empty_database.database_name}" SET search_path = ahead, public',
    )

    migrations.upgrade(empty_database.database)

    assert schema.schema_state(empty_database.database) is SchemaState.CURRENT
    assert ask(empty_database, "SELECT to_regclass('ahead.order_sources') IS NOT NULL") == [True]


@pytest.mark.as_administrator
@pytest.mark.past_the_pooler
@pytest.mark.parametrize("recorded", [True, False])
def test_second_set_of_tables_is_not_made_beside_the_first(
    empty_database: Deployment, *, recorded: bool
) -> None:
    """A schema that is called like the role comes before public, and nobody has to have meant it."""
    if recorded:
        migrations.upgrade(empty_database.database, "0001")
    else:
        made_by_the_last_version(empty_database)
    execute(
        empty_database,
        "CREATE SCHEMA ahead",
        f'ALTER DATABASE "{empty_database.database_name}" SET search_path = ahead, public',
    )
    before = relations(empty_database)

    done = command(empty_database, "migrate")

    assert done.exit_code == 78
    assert relations(empty_database) == before
    execute(empty_database, *advice_of(line_of(done.stderr)))
    assert command(empty_database, "migrate").stdout == "schema: current\n"
    assert ask(empty_database, "SELECT to_regclass('public.order_sources') IS NOT NULL") == [True]
