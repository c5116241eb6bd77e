"""A slow way to a server, on loopback only: `python -m benchmarks.network PORT TARGET_PORT DELAY_MS`."""

import asyncio
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from benchmarks.errors import NoFigure
from local.directory import LOOPBACK, free_port, is_free
from local.guarded import GuardedProcess, Launch

CHUNK = 1 << 16
START_LIMIT_S = 10.0
ARGUMENTS = 3


class Proxy:
    """Passes bytes on in both directions, each chunk as late as the delay says and in order."""

    def __init__(self, target_port: int, delay_s: float) -> None:
        """Take where to pass bytes on to, and how late."""
        self._target_port = target_port
        self._delay_s = delay_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._connected, LOOPBACK, port)
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(LOOPBACK, self._target_port)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._take(source, late), self._hand_on(late, sink)):
                task = asyncio.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _take(self, source: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"begin"
        while data:
            try:
                data = await source.read(CHUNK)
            except OSError:
                data = b""
            late.put_nowait((time.monotonic() + self._delay_s, data))

    async def _hand_on(self, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                due, data = await late.get()
                if (rest := due - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
                if not data:
                    break
                sink.write(data)
                await sink.drain()
        sink.close()


@contextmanager
def far_away(url: str, delay_ms: float, log: Path) -> Iterator[str]:
    """Run a proxy to the server of a URL and yield the URL that leads through it."""
    parts = urlsplit(url)
    port = free_port()
    process = GuardedProcess(
        Launch(
            argv=[sys.executable, "-m", "benchmarks.network", str(port), str(parts.port), str(delay_ms)],
            directory=Path(__file__).parent.parent,
            environ={},
            log=log,
        )
    )
    try:
        deadline = time.monotonic() + START_LIMIT_S
        while is_free(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoFigure(f"The proxy to port {parts.port} does not serve: see {log}.")
            time.sleep(0.02)
        credentials = parts.netloc.rpartition("@")[0]
        yield urlunsplit(parts._replace(netloc=f"{credentials}@{LOOPBACK}:{port}"))
    finally:
        if process.poll() is None:
            process.ask_to_end()
            process.await_end(START_LIMIT_S)


def main(arguments: list[str]) -> int:
    """Serve until the process is ended."""
    if len(arguments) != ARGUMENTS:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    port, target_port, delay_ms = int(arguments[0]), int(arguments[1]), float(arguments[2])
    # select() sleeps for microseconds, epoll for whole milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(Proxy(target_port, delay_ms / 1000).serve(port))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
