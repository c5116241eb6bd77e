"""What the commands of this folder have in common: where they print, and how they end."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks.errors import Fallen, NoFigure
from local import LocalServerError

# On disk on most machines, where /tmp often is in memory.
FOLDER = Path("/var/tmp")  # noqa: S108  a folder of our own is made in it
LEAST_WIDTH = 144


def wide_console() -> Console:
    """Return where to print; a pipe counts as 80 columns, where headings would be cut."""
    console = Console(soft_wrap=False)
    console.width = max(console.width, LEAST_WIDTH)
    return console


def exit_code(console: Console, act: Callable[[], None]) -> int:
    """Do it; return 1 where a run does not count or a ratio has fallen, 3 without servers, and say why."""
    try:
        act()
    except NoFigure as failure:
        console.print(f"No figure. {failure}", style="red", markup=False)
        return 1
    except Fallen as failure:
        console.print(f"Slower than before. {failure}", style="red", markup=False)
        return 1
    except LocalServerError as failure:
        console.print(str(failure), style="red", markup=False)
        return 3
    except KeyboardInterrupt:
        return 130
    return 0
