"""Tells whether this tree could be released: `python -m tests.release [PART OF A CHECK'S NAME ...]`.

Each check is named with ok or FAIL, what it found and what to do; exit code 1 where any has failed.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT
from tests.release import said, shipped

# A page may have more wrong links than one wants to read.
SHOWN = 10


@dataclass(frozen=True)
class Check:
    """A name, how it is looked at in a tree, with a folder for what is made on the way, and what to do."""

    name: str
    look: Callable[[Path, Path], Iterator[str]]
    remedy: str


def alone(look: Callable[[Path], Iterator[str]]) -> Callable[[Path, Path], Iterator[str]]:
    """Make a check of one that makes nothing on the way."""
    return lambda root, _: look(root)


CHECKS = (
    Check("the version is the same everywhere", alone(said.versions), "set it to that of worker/__init__.py"),
    Check(
        "the changelog ends in this version",
        alone(said.changelog),
        "close [Unreleased] under its number and date",
    ),
    Check(
        "the tree is as committed", alone(said.clean), "commit what belongs to the release, remove the rest"
    ),
    Check("generated pages are what the code says", alone(said.pages), "run what is named"),
    Check(
        "links of the pages lead somewhere", alone(said.links), "mend the link, or bring back what it led to"
    ),
    Check(
        "two builds are equal",
        shipped.builds,
        "take out what a build finds in its clock, its place or its order",
    ),
    Check(
        "the wheel installs beside its pins",
        shipped.installs,
        "requirements/compile, and look at what pip says",
    ),
    Check(
        "the list of what is installed is sound",
        shipped.listed,
        "look at requirements/sbom, which the image uses",
    ),
)


def outcome(check: Check, root: Path, scratch: Path) -> list[str]:
    """Return what is wrong, empty where nothing is. A check that breaks has failed."""
    try:
        return list(check.look(root, scratch))
    except Exception as error:  # noqa: BLE001  the other checks are to be seen as well
        return [f"the check itself broke: {type(error).__name__}: {error}"]


def lines(check: Check, faults: list[str]) -> Iterator[str]:
    """Yield what is shown of a check."""
    yield f"{'FAIL' if faults else 'ok  '}  {check.name}"
    yield from (f"        {each}" for each in faults[:SHOWN])
    if len(faults) > SHOWN:
        yield f"        ... and {len(faults) - SHOWN} more"
    if faults:
        yield f"      -> {check.remedy}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Look, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="CHECK", help="a part of the name of a check; none: all of them"
    )
    asked = parser.parse_args(arguments)
    chosen = [each for each in CHECKS if not asked.names or any(name in each.name for name in asked.names)]
    if not chosen:
        parser.error(f"no check is named so; there are: {', '.join(each.name for each in CHECKS)}")
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for check in chosen:
            faults = outcome(check, root, Path(scratch))
            failed += bool(faults)
            sys.stdout.write("".join(f"{line}\n" for line in lines(check, faults)))
            sys.stdout.flush()
    version = said.version_of(root)
    sys.stdout.write(
        f"{failed} of {len(chosen)} checks failed: {version} is not to be released\n"
        if failed
        else f"{version}: {len(chosen)} checks passed\n"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
