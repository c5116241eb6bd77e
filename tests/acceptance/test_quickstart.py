"""The first page that a newcomer follows, from top to bottom."""

import re
import stat
import sys
from pathlib import Path

import pytest

from tests.acceptance.runbook import Reader
from tests.acceptance.test_migration_page import shell
from tests.harness import Deployment
from tests.processes import ROOT

PAGE = ROOT / "docs" / "quickstart.md"
# The .venv of a test is there already: `make run` does what the Makefile has for it.
PROGRAMS = {
    "make": """#!/bin/sh
[ "$*" = "run ONCE=1" ] && exec {python} -m local.showcase --once --orders {root}/examples/orders.jsonl
echo "no test knows make $*" >&2; exit 2
""",
    "python": '#!/bin/sh\nexec {python} "$@"\n',
}


@pytest.mark.timeout(300)
def test_every_command_of_the_page_does_what_it_shows(own_deployment: Deployment, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")

    with shell(own_deployment, tmp_path) as terminal:
        for name, program in PROGRAMS.items():
            path = tmp_path / "bin" / name
            path.write_text(program.format(python=sys.executable, root=ROOT), encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "activate").touch()
        for name, code in files(text):
            (tmp_path / name).write_text(code, encoding="utf-8")
        reader = Reader(terminal, {})
        reader.follow(PAGE)


def files(text: str) -> list[tuple[str, str]]:
    """The files that a page has its reader write."""
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(block.partition("\n")[0].removeprefix("# "), block) for block in blocks]
