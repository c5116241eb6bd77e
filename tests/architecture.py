"""The page of the rooms and of the way of an order, made from the code.

`python -m tests.architecture` writes it, a test compares.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path

import grimp

from worker.consumer import Handling, Worker
from worker.consumer.tasks import Procedure

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
# What a script does; what it is given and returns comes below.
IN_A_HEAD = re.compile(r"-- (?!KEYS|ARGV|Returns|include)")

# What stands beside the package says this of itself.
OUTSIDE = {"local": "Runs servers for a bare machine, and the demo: not in the wheel."}

HEAD = """# Architecture

This page is made from the code: `python -m tests.architecture` writes it, and a test compares.

## The rooms

An arrow means "imports". What follows from other arrows is left out: `bootstrap` imports all the rooms
beneath it, and everybody knows the values of `domain`. The import contracts in
[pyproject.toml](../pyproject.toml) hold the directions: rooms on one level never import each other, those
that decide know no server, no page and no setting, only `stream` speaks Redis, only `store` speaks SQL (and
both say `Outage` when their server is away), and `bootstrap` alone knows them all. `local` is no room of the
package. `client` is for other programs: it speaks Redis by itself, knows no room but `ways`, which says where
a server is, and none knows it.

"""

WAY = """
## The way of an order

One replica is one loop, [`Worker.run`](../worker/consumer/loop.py). Each turn takes a group of deliveries
through these stations, in this order. `work_through` has
[`Handling.handle`](../worker/consumer/handling.py) bring them to outcomes, in the steps that are indented,
and settles them. Where a server is away, `wait_out` keeps what is in hand and comes back to the same station.
[The life of a delivery](life-of-a-delivery.md) tells what happens at each, and what a crash between two of
them costs.

"""


def rooms() -> dict[str, Path]:
    """The folders of the rooms, by name."""
    packages = {path.parent.name: path.parent for path in sorted(ROOT.glob("worker/*/__init__.py"))}
    return packages | {name: ROOT / name for name in OUTSIDE}


def sentence(folder: Path) -> str:
    """The first sentence of what a room says of itself."""
    if folder.name in OUTSIDE:
        return OUTSIDE[folder.name]
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split())


def arrows() -> set[tuple[str, str]]:
    """Which room imports which, less what follows from others."""
    graph = grimp.build_graph("worker")
    beneath: dict[str, set[str]] = {name: set() for name in rooms() if name not in OUTSIDE}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            one, other = _room(module), _room(imported)
            if one in beneath and other in beneath and one != other:
                beneath[one].add(other)
    return {
        (one, other)
        for one, others in beneath.items()
        for other in others
        if not any(other in _reached(between, beneath) for between in others - {other})
    }


def _room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def _reached(name: str, beneath: Mapping[str, set[str]]) -> set[str]:
    return beneath[name].union(*(_reached(each, beneath) for each in beneath[name]))


def picture() -> str:
    """The rooms as a Mermaid flowchart."""
    lines = ["```mermaid", "flowchart TB"]
    for name, folder in rooms().items():
        if name not in OUTSIDE:
            lines.append(f'  {name}["<b>{name}/</b><br/>{sentence(folder).partition(":")[0]}"]')
    lines += [f"  {one} --> {other}" for one, other in sorted(arrows())]
    return "\n".join([*lines, "```", ""])


def table() -> str:
    """The rooms, each with its sentence."""
    rows = ["\n| room | what it does |\n|---|---|\n"]
    for name, folder in rooms().items():
        rows.append(f"| [`{name}/`](../{folder.relative_to(ROOT)}) | {sentence(folder)} |\n")
    return "".join(rows)


def stations(function: Callable[..., object], owner: type, **parts: type) -> Iterator[tuple[str, str]]:
    """The methods of its class or of these parts that a function calls in turn, with their first sentence."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    seen = set[str]()
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        match ast.unparse(call.func).split("."):
            case ["self", name]:
                of = owner
            case ["self", part, name] if part in parts:
                of = parts[part]
            case _:
                continue
        method = getattr(of, name, None)
        if method is not None and method.__doc__ and name not in seen:
            seen.add(name)
            yield name, " ".join(method.__doc__.split("\n\n")[0].split())


def files() -> str:
    """What each file of the package says of itself, by room."""
    lines = ["\n## What is where\n"]
    for name, folder in rooms().items():
        lines.append(f"\n**{name}/**\n\n")
        for path in sorted(folder.rglob("*.*")):
            if path.suffix in {".py", ".lua"} and not path.name.startswith("_"):
                here, link = path.relative_to(folder), path.relative_to(ROOT)
                lines.append(f"- [{here}](../{link}): {first_line(path)}\n")
    return "".join(lines)


def first_line(path: Path) -> str:
    """The first sentence of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = ast.get_docstring(ast.parse(text)) or ""
        return " ".join(said.split("\n\n")[0].split())
    head = takewhile(
        lambda line: not re.match(r"-- (KEYS|ARGV|Returns|include)|(?!--)", line), text.splitlines()
    )
    return " ".join(line.removeprefix("-- ") for line in head)


def way() -> str:
    """The stations of the loop, and what becomes of a group at them."""
    lines = []
    for number, (name, does) in enumerate(stations(Worker.run, Worker), 1):
        lines.append(f"{number}. `{name}`: {does}\n")
        if name == "work_through":
            steps = stations(Handling.handle, Handling, _procedure=Procedure)
            lines += [f"   - `{step}`: {what}\n" for step, what in steps]
            lines += [f"   - `{step}`: {what}\n" for step, what in stations(Worker.work_through, Worker)]
    return "".join(lines)


def architecture() -> str:
    """The page."""
    return HEAD + picture() + table() + WAY + way() + files()


if __name__ == "__main__":
    PAGE.write_text(architecture(), encoding="utf-8")
