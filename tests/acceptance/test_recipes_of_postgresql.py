"""The recipes for PgBouncer and a standby, from top to bottom, as somebody types them who sees them first."""

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.account import unprivileged_account
from local.directory import free_port
from local.postgres import find_postgres
from tests.acceptance.runbook import Reader
from tests.acceptance.test_migration_page import shell
from tests.harness import Deployment
from tests.processes import ROOT
from tests.scratch import in_memory
from tests.skips import Reason, skip

RECIPES = ROOT / "docs" / "recipes"
SHIPPED = ROOT / "deploy" / "pgbouncer"
# A test of its own has made the .venv; what its activation does is done by the PATH of the terminal.
MAKE = '#!/bin/sh\n[ "$*" = ".venv/.installed-local" ] || { echo "no test knows make $*" >&2; exit 2; }\n'
PYTHON = '#!/bin/sh\nexec {python} "$@"\n'
# These refuse to run as root, as which tests may run: what is there is handed over to whom they run as.
AS_SOMEBODY = """#!{python}
import os, sys
for each in filter(os.path.isfile, os.listdir()):
    os.chown(each, {uid}, {gid})
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""
AS_OURSELVES = '#!/bin/sh\nexec {program} "$@"\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A checkout, as far as the recipes need one, that other users find their way to."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as made:
        checkout = Path(made)
        checkout.chmod(0o755)
        (checkout / ".venv" / "bin").mkdir(parents=True)
        (checkout / ".venv" / "bin" / "activate").touch()
        account = unprivileged_account(checkout)
        if account is not None:
            os.chown(checkout, account.uid, account.gid)
        yield checkout


def follow(page: str, deployment: Deployment, folder: Path, programs: dict[str, str], port: str) -> None:
    """Type all that a page shows, with a free port in place of its own."""
    free = str(free_port())
    account = unprivileged_account(folder)
    ids = {} if account is None else {"uid": account.uid, "gid": account.gid}
    texts = {"make": MAKE, "python": PYTHON.format(python=sys.executable)}
    for name, program in programs.items():
        text = AS_OURSELVES if account is None else AS_SOMEBODY
        texts[name] = text.format(python=sys.executable, program=program, **ids)
    (folder / "deploy" / "pgbouncer").mkdir(parents=True)
    for file in SHIPPED.iterdir():
        moved = file.read_text(encoding="utf-8").replace(port, free)
        (folder / "deploy" / "pgbouncer" / file.name).write_text(moved, encoding="utf-8")
    typed = folder / page
    typed.write_text((RECIPES / page).read_text(encoding="utf-8").replace(port, free), encoding="utf-8")
    for kept in re.findall(r"--directory (\S+)", typed.read_text(encoding="utf-8")):
        (folder / kept).mkdir(parents=True, exist_ok=True)
    with shell(deployment, folder) as terminal:
        for name, text in texts.items():
            path = folder / "bin" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        Reader(terminal, {}).follow(typed)


def found(name: str, reason: Reason) -> str:
    """Return where a program is, PostgreSQL's own before others; without it the test is left out."""
    beside = find_postgres()[0] / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        skip(reason)
    return path


@pytest.mark.timeout(600)
def test_every_command_of_the_page_on_pgbouncer_does_what_it_shows(
    own_deployment: Deployment, folder: Path
) -> None:
    programs = {"pgbouncer": found("pgbouncer", Reason.NO_POOLER), "psql": found("psql", Reason.NO_PSQL)}

    follow("pgbouncer.md", own_deployment, folder, programs, "6432")


@pytest.mark.timeout(600)
def test_every_command_of_the_page_on_a_standby_does_what_it_shows(
    own_deployment: Deployment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("initdb", "postgres", "pg_basebackup", "pg_ctl")
    programs = {name: str(find_postgres()[0] / name) for name in names}
    programs["psql"] = found("psql", Reason.NO_PSQL)
    # What the page puts before all others on PATH.
    monkeypatch.setenv("LOCAL_POSTGRES", str(folder / "bin"))

    follow("postgresql-standby.md", own_deployment, folder, programs, "5433")
