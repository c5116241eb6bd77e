"""Runs migrations in the database that `worker migrate` hands over, else in that of the environment.

The latter is for alembic's own command line.
"""

from alembic import context
from alembic.util import CommandError

from worker.bootstrap.parts.connections import database_from_environment
from worker.domain.errors import WorkerError
from worker.store import migrations

given = context.config.attributes.get("database")
if given is not None:
    migrations.run(given)
else:
    database = database_from_environment()
    try:
        migrations.run(database)
    except WorkerError as error:
        # What alembic shows in one line.
        raise CommandError(str(error)) from error
    finally:
        database.close()
