"""What was measured, as a table for people and as JSON."""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.arena import Arena
from benchmarks.contest import Standing, compared
from benchmarks.figures import Spread

AGAIN = " again"
RATES = ("a second", "least..most", "x", "by round")
COSTS = ("CPU us: worker", "redis", "postgres", "MB")
LATENCIES = ("p50 ms", "p99 ms", "p99.9 ms")


def machine(arena: Arena) -> dict[str, str]:
    """Return where the figures come from."""
    return {
        "when": time.strftime("%Y-%m-%d %H:%M %z"),
        "cpus": str(os.cpu_count()),
        "cpu": _processor(),
        "python": platform.python_version(),
        "redis": f"{arena.streams.version}, AOF {arena.streams.setting('appendfsync')}",
        "postgres": f"{arena.tables.version}, fsync {arena.tables.setting('fsync')}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def table(title: str, standings: Sequence[Standing]) -> Table:
    """Return the table of a scenario: rates, or latencies where they were measured, and what it cost."""
    timed = any(standing.latencies_ms for standing in standings)
    made = Table(title=title, caption=noise(standings))
    made.add_column("", no_wrap=True)
    for name in (*(LATENCIES if timed else RATES), *_remarked(standings), *COSTS):
        made.add_column(name, justify="right")
    for standing in standings:
        figures = [f"{wait:,.0f}" for wait in standing.latencies_ms] if timed else _rates(standing, standings)
        remarks = [f"{standing.remarks[name]:,.2f}" for name in _remarked(standings)]
        made.add_row(standing.case.name, *figures, *remarks, *_costs(standing))
    return made


def _remarked(standings: Sequence[Standing]) -> list[str]:
    return list(standings[0].remarks) if standings else []


def noise(standings: Sequence[Standing]) -> str | None:
    """Return how far a design is from itself, below which no difference means anything."""
    floors = []
    for standing in standings:
        share = compared(standing, standings)
        if AGAIN in standing.case.name and share is not None:
            floors.append(f"{standing.case.name} {_ratio(share)}")
    return f"noise floor, a design against itself: {', '.join(floors)}" if floors else None


def as_json(title: str, standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the figures of a scenario, and those of every single run."""
    return {"title": title, "rows": [_row(standing, standings) for standing in standings]}


def _row(standing: Standing, standings: Sequence[Standing]) -> dict[str, Any]:
    share = compared(standing, standings)
    worker, redis, postgres = standing.cpu_us
    return {
        "case": standing.case.name,
        "against": standing.case.against or None,
        "per_second": asdict(standing.rate),
        "ratio": None if share is None else asdict(share),
        "cpu_us_per_entry": {"worker": worker, "redis": redis, "postgres": postgres},
        "peak_mb": standing.peak_mb,
        "latency_ms": dict(zip(("p50", "p99", "p99.9"), standing.latencies_ms, strict=False)) or None,
        "remarks": standing.remarks,
        "rounds": [
            {name: value for name, value in asdict(measured).items() if name != "latencies_ms"}
            for _, measured in sorted(standing.by_round.items())
        ],
    }


def _rates(standing: Standing, standings: Sequence[Standing]) -> list[str]:
    rate, share = standing.rate, compared(standing, standings)
    of_itself = standing.case.against == standing.case.name
    return [
        f"{rate.median:,.0f}",
        f"{rate.least:,.0f}..{rate.most:,.0f}",
        "-" if share is None else f"{share.median:.2f}",
        "-" if share is None or of_itself else f"{share.least:.2f}..{share.most:.2f}",
    ]


def _costs(standing: Standing) -> list[str]:
    return [*(f"{cost:,.1f}" for cost in standing.cpu_us), f"{standing.peak_mb:,.0f}"]


def _ratio(share: Spread) -> str:
    return f"{share.median:.2f} ({share.least:.2f}..{share.most:.2f})"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(
                (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
            )
    except OSError:
        return platform.processor()
