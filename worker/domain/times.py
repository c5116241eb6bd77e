"""How a time is spelled wherever one is shown, in UTC with a Z that says so; how people spell a span."""

import re
from datetime import UTC, datetime

_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def span_s(text: str) -> float | None:
    """Return the seconds of a time span as people write it: 90, 10m, 2h or 1d; None where it is none."""
    parts = _SPAN.fullmatch(text)
    return None if parts is None else float(int(parts[1]) * _SECONDS[parts[2]])


def unix_ms_ago(seconds: float | None, now_s: float) -> int:
    """Return the unix time in milliseconds so many seconds before now, no less than 0; 0 for None: ever."""
    return 0 if seconds is None else max(0, int((now_s - seconds) * 1000))


def utc_text(at: datetime, precision: str = "seconds") -> str:
    """Return a time in UTC, whatever zone it comes in."""
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def utc_text_of_ms(unix_ms: int, precision: str = "seconds") -> str:
    """Return a time given in unix milliseconds, `-` where no calendar has it: entry ids may be made up."""
    try:
        return utc_text(datetime.fromtimestamp(unix_ms / 1000, UTC), precision)
    except (ValueError, OverflowError, OSError):
        return "-"
