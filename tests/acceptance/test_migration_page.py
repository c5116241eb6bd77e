"""The page on moving from Pub/Sub, run from top to bottom on servers of its own."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.directory import free_port
from tests.harness import Deployment, eventually, sample_orders
from tests.processes import ROOT

PAGE = ROOT / "docs" / "migrate-from-pubsub.md"
STEP = re.compile(
    r"<!-- (?P<upstream>upstream publishes) -->|```(?P<kind>console|python)\n(?P<text>.*?)```", re.DOTALL
)
END = "--end of output--"

# What redis-cli prints, for a machine that has none.
REDIS_CLI = """#!{python}
import os, sys, redis
client = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2)
client.response_callbacks.clear()

def shown(reply, indent=""):
    if isinstance(reply, list):
        lines = [shown(each, indent + " " * len(f"{{n}}) ")).lstrip() for n, each in enumerate(reply, 1)]
        return "\\n".join(f"{{indent}}{{n}}) {{line}}" for n, line in enumerate(lines, 1))
    if isinstance(reply, int):
        return f"(integer) {{reply}}"
    if reply is None:
        return "(nil)"
    return reply.decode() if reply == b"OK" else '"' + reply.decode() + '"'

print(shown(client.execute_command(*sys.argv[1:])))
"""
WORKER = '#!/bin/sh\nexec {python} -m worker "$@"\n'
PYTHON = '#!/bin/sh\nexec {python} "$@"\n'


class Shell:
    """A person at a terminal in a folder of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def says(self, command: str) -> str:
        """Run a command, and return what it printed."""
        out, given = self._process.stdout, self._process.stdin
        assert out is not None
        assert given is not None
        given.write(f"{command}\necho; echo '{END}'\n")
        given.flush()
        lines = []
        while (line := out.readline()).rstrip("\n") != END:
            assert line, "the shell has ended"
            lines.append(line)
        return "".join(lines).strip("\n")


@contextmanager
def shell(deployment: Deployment, folder: Path) -> Iterator[Shell]:
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("redis-cli", REDIS_CLI), ("worker", WORKER), ("python", PYTHON)):
        program = programs / name
        program.write_text(text.format(python=sys.executable), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    own = ("REDIS_URL", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    environment |= {name: deployment.environment()[name] for name in own}
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    environment |= {"PYTHONPATH": str(ROOT), "WORKER_HEALTH_PORT": str(free_port())}
    with subprocess.Popen(
        ["bash"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        made = Shell(process)
        try:
            yield made
        finally:
            made.says("kill $(cat *.pid) 2> /dev/null; wait")
            assert process.stdin is not None
            process.stdin.close()


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block with what it printed."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed.strip("\n")


def run(terminal: Shell, command: str, printed: str) -> None:
    said: list[str] = []

    def as_printed() -> bool:
        said.append(terminal.says(command))
        return said[-1] == printed

    if "XLEN" in command or "NUMSUB" in command or "XPENDING" in command:
        # What a person looks at again until it is there.
        try:
            eventually(as_printed)
        except AssertionError:
            raise AssertionError(f"{command}: {said[-1]}, not {printed}") from None
    else:
        assert as_printed(), f"{command}: {said[-1]}, not {printed}"


def test_every_command_of_the_page_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    client: Any = own_deployment.redis
    waiting = False

    with shell(own_deployment, tmp_path) as terminal:
        for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
            if step["upstream"]:
                waiting = True
            elif step["kind"] == "python":
                exec(step["text"], {"client": client})  # noqa: S102  the page's own lines
            else:
                for command, printed in commands(step["text"]):
                    if waiting and "XLEN" in command:
                        eventually(lambda: client.pubsub_numsub("orders")[0][1] > 0)
                        eventually(lambda: heard(tmp_path))
                        publish_samples(client)
                        waiting = False
                    run(terminal, command, printed)

    assert client.xlen("orders:dead") == 0


def heard(folder: Path) -> bool:
    logs = list(folder.glob("bridge-*.log")) or list(folder.glob("rehearsal.log"))
    return all('"hearing the channel"' in log.read_text(encoding="utf-8") for log in logs)


def publish_samples(client: Any) -> None:
    for order in sample_orders():
        client.publish("orders", json.dumps(order))
