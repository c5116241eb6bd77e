"""The servers of a bare machine, put into an environment that names none."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict
from urllib.parse import urlsplit

from local.directory import held, make_directory, write_secret
from local.lifecycle import START_LIMIT_S, LocalServer
from local.postgres import INITDB_LIMIT_S, LocalPostgres, postgres_answers
from local.redis import LocalRedis, redis_answers

NEIGHBOUR_LIMIT_S = INITDB_LIMIT_S + START_LIMIT_S


class Entry(TypedDict):
    """What servers.json holds of one running server."""

    pid: int
    url: str
    # What an older checkout has started has none.
    version: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Service:
    """What the worker needs, the variable that says where it is, and how to have one locally."""

    name: str
    variable: str
    make: type[LocalServer]
    answers: Callable[[str], bool]

    def is_given(self, environ: Mapping[str, str]) -> bool:
        """Tell whether the environment names a server, by URL or by a file that holds the URL."""
        return bool(environ.get(self.variable) or environ.get(f"{self.variable}_FILE"))


SERVICES = (
    Service("redis", "REDIS_URL", LocalRedis, redis_answers),
    Service("postgres", "DATABASE_URL", LocalPostgres, postgres_answers),
)


@contextmanager
def local_servers(
    directory: Path, environ: Mapping[str, str], tell: Callable[[str], object] = lambda _line: None
) -> Iterator[dict[str, str]]:
    """Yield the environment completed by the URLs of local servers, and stop those afterwards.

    Starts only what the environment does not name. Servers that another process has up on the
    directory are joined, and left to it. `tell` is given a line on what runs where, without passwords.
    """
    missing = [service for service in SERVICES if not service.is_given(environ)]
    if not missing:
        yield dict(environ)
        return
    make_directory(directory)
    with ExitStack() as started:
        with _roster(directory) as roster:
            joined = [service for service in missing if _is_up(service, roster)]
            ours = [service for service in missing if service not in joined]
            for service in ours:
                server = service.make(directory / service.name)
                server.start()
                started.callback(_retire, directory, service.name, server)
                roster[service.name] = Entry(pid=server.pid, url=server.url, version=server.version)
            urls = {service.variable: roster[service.name]["url"] for service in missing}
            told = (_told(joined, roster, "the command that started it"), _told(ours, roster, "this command"))
        tell("; ".join(filter(None, told)))
        replaced = {name for service in missing for name in (service.variable, f"{service.variable}_FILE")}
        yield {name: value for name, value in environ.items() if name not in replaced} | urls


@contextmanager
def _roster(directory: Path) -> Iterator[dict[str, Entry]]:
    """Yield what servers.json says is up, to be changed in place, while nobody else reads or writes it."""
    file = directory / "servers.json"
    refusal = f"Another process has been starting the servers of {directory} for too long."
    with held(directory / "lock", NEIGHBOUR_LIMIT_S, refusal):
        roster: dict[str, Entry] = json.loads(file.read_text()) if file.exists() else {}
        try:
            yield roster
        finally:
            if roster:
                write_secret(file, json.dumps(roster, indent=2) + "\n")
            else:
                file.unlink(missing_ok=True)


def _told(services: Sequence[Service], roster: Mapping[str, Entry], owner: str) -> str:
    """Return what each variable leads to and for how long, or nothing where there is no service."""
    places = []
    for service in services:
        entry = roster[service.name]
        where = urlsplit(entry["url"])
        program = f"{service.make.name} {entry.get('version', '')}".rstrip()
        places.append(f"{service.variable} is {program} at {where.hostname}:{where.port}")
    return f"{', '.join(places)}, until {owner} ends" if places else ""


def _is_up(service: Service, roster: Mapping[str, Entry]) -> bool:
    return service.name in roster and service.answers(roster[service.name]["url"])


def _retire(directory: Path, name: str, server: LocalServer) -> None:
    with _roster(directory) as roster:
        server.stop()
        roster.pop(name, None)
