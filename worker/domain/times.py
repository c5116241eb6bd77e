"""How a time is spelled wherever one is shown: in UTC, and a Z says so."""

from datetime import UTC, datetime


def utc_text(at: datetime, precision: str = "seconds") -> str:
    """Return a time in UTC, whatever zone it comes in."""
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def utc_text_of_ms(unix_ms: int, precision: str = "seconds") -> str:
    """Return a time given in unix milliseconds, `-` where no calendar has it: entry ids may be made up."""
    try:
        return utc_text(datetime.fromtimestamp(unix_ms / 1000, UTC), precision)
    except (ValueError, OverflowError, OSError):
        return "-"
