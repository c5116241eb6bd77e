"""Redis that Sentinels watch, behind HAProxy as it is shipped, which leads to the primary."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from local.directory import free_port
from tests.gathering import LOOPBACK, Watched
from tests.skips import Reason, skip

SHIPPED = Path(__file__).parent.parent / "deploy" / "haproxy" / "haproxy.cfg"
# What the file calls the proxy and the servers.
PROXY, SERVERS = 6380, (6381, 6382, 6383)


def moved(text: str, ports: Mapping[int, int]) -> str:
    """Put free ports in the place of those that a page or a file names."""
    return re.sub(r"\b\d{4,5}\b", lambda found: str(ports.get(int(found[0]), found[0])), text)


def require_haproxy() -> str:
    """Return the program; leave out the test where there is none."""
    program = shutil.which("haproxy")
    if program is None:
        skip(Reason.NO_HAPROXY)
    return program


class Fronted(Watched):
    """A primary that takes orders only while a replica follows it, and what leads to it."""

    settings: ClassVar[Mapping[str, str]] = {"min-replicas-to-write": "1"}

    def __init__(self, folder: Path, silence_ms: int) -> None:
        program = require_haproxy()
        super().__init__(folder, silence_ms)
        self._port = free_port()
        ports = {PROXY: self._port, **dict(zip(SERVERS, (each.port for each in self.servers), strict=True))}
        file = folder / "haproxy.cfg"
        file.write_text(moved(SHIPPED.read_text(encoding="utf-8"), ports), encoding="utf-8")
        environment = {**os.environ, "REDISCLI_AUTH": self.password}
        self._proxy = subprocess.Popen([program, "-db", "-q", "-f", str(file)], env=environment)

    @property
    def way(self) -> str:
        """The URL of the proxy."""
        return f"redis://:{self.password}@{LOOPBACK}:{self._port}/0"

    def stop(self) -> None:
        """Stop all that runs."""
        self._proxy.kill()
        self._proxy.wait()
        super().stop()
