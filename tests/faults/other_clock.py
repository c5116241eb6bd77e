"""A Redis whose clock is not that of the machine, and can be set while it runs."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from local import LocalRedis
from tests.skips import Reason, skip

# Where Debian, Ubuntu and Fedora have it.
LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")
COMMAND = """\
#!/bin/sh
export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={clock} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
exec {program} "$@"
"""


class RedisOfAnotherTime(LocalRedis):
    """Its clock goes with that of the machine, so far ahead of it as it was set to."""

    def __init__(
        self, directory: Path, settings: Mapping[str, str] | None = None, *, ahead_s: int = 0
    ) -> None:
        super().__init__(directory, settings)
        library = next((str(found) for each in LIBRARIES for found in Path("/").glob(each[1:])), None)
        if library is None:
            skip(Reason.NO_FAKE_CLOCK)
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._clock = directory / "clock"
        self.set_ahead(ahead_s)
        told = {"library": library, "clock": str(self._clock), "program": self._program}
        self._program = str(directory / "redis-of-another-time")
        Path(self._program).write_text(
            COMMAND.format(**{name: shlex.quote(value) for name, value in told.items()}), encoding="utf-8"
        )
        Path(self._program).chmod(0o755)

    def set_ahead(self, seconds: int) -> None:
        """Set it by so much ahead of the machine's, or behind."""
        half = self._clock.with_suffix(".new")
        half.write_text(f"{seconds:+d}s\n", encoding="utf-8")
        half.chmod(0o644)
        half.replace(self._clock)
