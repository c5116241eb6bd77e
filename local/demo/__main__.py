"""`make demo`: a two-minute story on real servers, which ends by itself."""

import argparse
import sys
from collections.abc import Sequence

import psycopg
from redis import RedisError
from rich.console import Console

from local.demo.folder import throw_away_folder
from local.demo.narrator import Narrator
from local.demo.pace import QUICK, Pace
from local.demo.promises import BrokenPromiseError
from local.demo.stage import stage_in
from local.demo.story import Story
from local.errors import LocalServerError
from local.interrupts import INTERRUPTED, interrupt_once
from local.replicas import ReplicaFailedError


def main(argv: Sequence[str] | None = None) -> int:
    """Tell the story; return 0 if all was as promised, 1 if not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the pauses that are there for reading")
    pace = QUICK if parser.parse_args(argv).quick else Pace()
    interrupt_once()
    narrator = Narrator(Console())
    try:
        return 1 if tell(narrator, pace) else 0
    except (BrokenPromiseError, LocalServerError, ReplicaFailedError) as error:
        narrator.bad(f"NOT AS PROMISED: {error}")
        return 1
    except (RedisError, psycopg.Error) as error:
        narrator.bad(f"NOT AS PROMISED: A server does not answer: {type(error).__name__}: {error}".rstrip())
        return 1
    except KeyboardInterrupt:
        narrator.bad("Interrupted; all that was started is ended.")
        return INTERRUPTED


def tell(narrator: Narrator, pace: Pace) -> list[str]:
    """Tell the story in a folder that is gone afterwards, and return what was not as promised."""
    with throw_away_folder() as folder:
        narrator.title("Redis and PostgreSQL start")
        narrator.say(f"All of it is real, and happens in {folder}, which is gone at the end.")
        with stage_in(folder) as stage:
            faults = Story(stage, narrator, pace).run()
    for fault in faults:
        narrator.bad(f"NOT AS PROMISED: {fault}")
    if not faults:
        narrator.good("All was as promised: each order has one result.")
    return faults


if __name__ == "__main__":
    sys.exit(main())
