"""`python -m benchmarks`: start servers, measure, print tables, write JSON and a picture."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import gate, plot, report
from benchmarks.arena import Arena, arena
from benchmarks.console import FOLDER, exit_code, wide_console
from benchmarks.contest import Standing
from benchmarks.designs import DESIGNS, Design
from benchmarks.errors import Fallen, NoFigure
from benchmarks.scenarios import CURVE, SCENARIOS
from benchmarks.scenarios import DESIGNS as STRAIGHT
from benchmarks.scenarios.sizes import Sizes


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for; return what exit_code says."""
    wanted = _parser().parse_args(arguments)
    console = wide_console()
    if wanted.list:
        for scenario in SCENARIOS.values():
            console.print(f"{scenario.name:<12} {scenario.title}", highlight=False)
        return 0
    return exit_code(console, lambda: _measure(wanted, console))


def _measure(wanted: argparse.Namespace, console: Console) -> None:
    sizes = _sizes(wanted, console)
    with arena(wanted.folder) as servers:
        _measure_on(servers, _names(wanted), sizes, wanted, console)


def _measure_on(
    servers: Arena, names: Sequence[str], sizes: Sizes, wanted: argparse.Namespace, console: Console
) -> None:
    where = report.machine(servers)
    console.print(", ".join(f"{name} {value}" for name, value in where.items()), highlight=False)
    tables: dict[str, list[Standing]] = {}
    for name in names:
        tables[name] = SCENARIOS[name].run(
            servers,
            sizes,
            lambda line: console.print(f"  {line}", style="dim", markup=False, highlight=False),
        )
        console.print(report.table(SCENARIOS[name].title, tables[name]), highlight=False)
        # After each, so that what was measured is not lost with what goes wrong later.
        _write(wanted, where, sizes, tables)
    if wanted.gate:
        hold_against_floors(tables, console)


def hold_against_floors(tables: Mapping[str, Sequence[Standing]], console: Console) -> None:
    """Show each ratio that has a floor. Raises Fallen where one is below, NoFigure without any."""
    held = list(gate.held(tables, gate.floors()))
    if not held:
        raise NoFigure(f"No ratio of {gate.FLOORS.name} was measured.")
    for each in held:
        console.print(f"  {each}", style="red" if each.fallen else "", markup=False, highlight=False)
    if fallen := [each.case for each in held if each.fallen]:
        raise Fallen(", ".join(fallen))


def _write(
    wanted: argparse.Namespace, where: dict[str, str], sizes: Sizes, tables: dict[str, list[Standing]]
) -> None:
    if wanted.json is not None:
        written: dict[str, Any] = {
            "machine": where,
            "seed": sizes.seed,
            "quick": sizes.quick,
            "scenarios": {
                name: report.as_json(SCENARIOS[name].title, standings) for name, standings in tables.items()
            },
        }
        wanted.json.parent.mkdir(parents=True, exist_ok=True)
        wanted.json.write_text(f"{json.dumps(written, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    if wanted.plot is not None:
        plot.draw(tables, wanted.plot)


def _names(wanted: argparse.Namespace) -> list[str]:
    names = wanted.scenario or [STRAIGHT]
    if "all" in names:
        names = list(SCENARIOS)
    return list(dict.fromkeys([*names, CURVE] if wanted.curve else names))


def _sizes(wanted: argparse.Namespace, console: Console) -> Sizes:
    return Sizes(
        quick=wanted.quick,
        orders=wanted.orders,
        rounds=wanted.rounds,
        seed=wanted.seed,
        designs=_designs(wanted.designs, console)
        if wanted.designs or STRAIGHT in _names(wanted)
        else DESIGNS,
        workers=wanted.workers,
    )


def _designs(names: Sequence[str], console: Console) -> list[Design]:
    known = {design.name: design for design in DESIGNS}
    if unknown := [name for name in names if name not in known]:
        raise NoFigure(f"There is no design called {', '.join(unknown)}; there are {', '.join(known)}.")
    chosen = []
    for design in [known[name] for name in names] or DESIGNS:
        if design.missing:
            console.print(
                f"{design.name} is left out: {', '.join(design.missing)} is not installed", style="yellow"
            )
        else:
            chosen.append(design)
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few orders, few rounds: about two minutes")
    parser.add_argument(
        "--orders", type=_positive, default=0, help="orders of a run; slow designs get a share"
    )
    parser.add_argument("--rounds", type=_positive, default=0, help="how often each case is measured")
    parser.add_argument("--designs", type=_words, default=[], metavar="NAME,...", help="only these designs")
    parser.add_argument(
        "--workers",
        type=_numbers,
        default=[],
        metavar="N,...",
        help="numbers of processes, of designs and replicas",
    )
    parser.add_argument("--seed", type=int, default=1, help="the same orders for the same seed (default: 1)")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=[*SCENARIOS, "all"],
        help="may be given again; default: designs",
    )
    parser.add_argument("--gate", action="store_true", help="fail where a ratio is below that of floors.toml")
    parser.add_argument("--curve", action="store_true", help="the batch size as well")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every run")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture, SVG or PNG by its ending")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the servers work (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [_positive(word) for word in _words(text)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
