"""Figures of the fault tests, one JSON line each, in the file CHAOS_REPORT names; without it, nowhere."""

import json
import os
from pathlib import Path


def record(stage: str, row: str, **figures: object) -> None:
    """Append the figures of one row of a stage."""
    if path := os.environ.get("CHAOS_REPORT"):
        with Path(path).open("a", encoding="utf-8") as report:
            report.write(json.dumps({"stage": stage, "row": row, **figures}) + "\n")
