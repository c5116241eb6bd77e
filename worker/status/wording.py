"""Numbers and time spans as people say them."""

from collections.abc import Mapping

MINUTE, HOUR, DAY = 60, 3600, 86_400


def by_number(counts: Mapping[str, int]) -> str:
    """Return counts as people say them: 2 conflict, 1 poison."""
    return ", ".join(f"{count:,} {name or '-'}" for name, count in counts.items())


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def span(seconds: float) -> str:
    """Return a time span in no more than two units."""
    whole = int(seconds)
    if whole < MINUTE:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"  # noqa: PLR2004  one digit more if short
    for unit, name, smaller, part in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min")):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name} {rest} {part}" if rest else f"{whole // unit} {name}"
    return f"{whole // MINUTE} min {whole % MINUTE} s" if whole % MINUTE else f"{whole // MINUTE} min"
