"""Runs pytest again and again, each time in a fork of a process that has imported the libraries already.

Importing them takes most of the time that a planted bug takes. What is tested is imported in the fork alone,
from the tree that is asked for: nothing of this project may be imported here.

One request a line, as JSON: the tree, the environment, the arguments, and the file that the output goes to.
The answer is a line with the exit code.
"""

import importlib
import json
import os
import random
import sys
from typing import NoReturn

import pytest

# Not pytest's plugins, which it wants to import itself.
LIBRARIES = (
    "alembic.command", "click.testing", "flask", "h11", "httpx", "hypothesis.stateful", "msgspec",
    "prometheus_client.parser", "psycopg", "redis.asyncio", "rich.progress",
    "sqlalchemy.dialects.postgresql.psycopg", "structlog", "tenacity", "testcontainers.core.container",
    "trustme", "xml.etree.ElementTree",
)  # fmt: skip


def main() -> None:
    """Answer requests until there are no more."""
    # The folder of this file, whose modules are called like others.
    del sys.path[0]
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run(tree: str, environment: dict[str, str], arguments: list[str], output: str) -> NoReturn:
    os.chdir(tree)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, tree)
    random.seed()
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, descriptor in ((0, nothing), (1, said), (2, said)):
        os.dup2(descriptor, target)
    code = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(int(code))


if __name__ == "__main__":
    main()
