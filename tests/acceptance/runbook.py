"""Runs a page of the runbook in order: what it says happened is made to happen, what it shows must come."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from tests.acceptance.test_migration_page import Shell, commands
from tests.harness import eventually
from tests.processes import ROOT

FOLDER = ROOT / "docs" / "runbook"
STEP = re.compile(r"<!-- (?P<event>[^>]+) -->|```console\n(?P<console>.*?)```", re.DOTALL)
NUMBERS_VARY = "numbers vary"
# Drawn while something takes its time; on no page.
PROGRESS = re.compile(r"^.*━━.*\n?", re.MULTILINE)

# What a person looks at again until it is there; everything else is done once.
LOOKING = re.compile(
    r"(worker (status|pending|show|dead list)|redis-cli (XLEN|XPENDING|ZCARD)|psql \S+ -Atc"
    r"|grep|curl|for look)\b"
)
# What differs from run to run. An id or a consumer of the page stands for the same one wherever it is named.
IDS = r"\d{13}-\d+|worker-[\w.]+-\d+-[0-9a-f]{6}|(?<=PID )\d+"
FREE = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?",
    r"(?:\d+ (?:min|h|d)(?: \d+ (?:s|min|h))?|\d+(?:\.\d+)? m?s)\b",
    r"(?<= at )[\w.]+:\d+(?:/\w+)?(?=, answers)",
    r"(?<=port )\d+|(?<=127\.0\.0\.1:)\d+|(?<=Redis )[\d.]+|(?<=PostgreSQL )[\d.]+",
    r'\w+@[\w.-]+|(?<="attempt": )\d+|(?<=first_seen )\d+|(?<=last_seen )\d+|(?<=")\d{10}(?=")',
)
TOKEN = re.compile(f"(?P<id>{IDS})|(?P<free>{'|'.join(FREE)})")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


class Mismatch(AssertionError):
    """A command printed something else than its page shows."""


class Reader(Struct):
    """Somebody who follows a page, and knows by now which real ids stand behind those of the page."""

    terminal: Shell
    events: dict[str, Callable[[], object]]
    real: dict[str, str] = {}
    ran: list[str] = []
    within: float = 40

    def follow(self, page: Path) -> None:
        """Run every command of a page, in order; each comment names what happens before the next one."""
        vary = False
        for step in STEP.finditer(page.read_text(encoding="utf-8")):
            if step["event"] == NUMBERS_VARY:
                vary = True
            elif step["event"]:
                self.events[step["event"]]()
            else:
                for command, printed in commands(step["console"]):
                    self.run(command, printed, vary=vary)
                vary = False

    def run(self, command: str, printed: str, *, vary: bool) -> None:
        """Run one command, again and again where it only looks, until it prints what the page shows."""
        asked = re.sub(IDS, lambda found: self.real.get(found[0], found[0]), command)
        said: list[str] = []

        def as_printed() -> bool:
            said.append(PROGRESS.sub("", self.terminal.says(asked)))
            return self.understands(printed, said[-1], vary=vary)

        self.ran.append(command)
        try:
            eventually(as_printed, within=self.within if LOOKING.match(command) else 0)
        except AssertionError:
            raise Mismatch(
                f"ran {len(self.ran)}: $ {asked}\n{said[-1]}\n--- the page shows:\n{printed}"
            ) from None

    def understands(self, printed: str, said: str, *, vary: bool) -> bool:
        """Whether this is what the page shows; learns the ids in it."""
        shown, found = _parts(printed, vary=vary), _parts(said, vary=vary)
        if shown.skeleton != found.skeleton:
            return False
        learned = dict(zip(shown.ids, found.ids, strict=True))
        if any(self.real.get(theirs, ours) != ours for theirs, ours in learned.items()):
            return False
        self.real.update(learned)
        return True


class Parts(Struct):
    """What must be the same in every run, and what may differ."""

    skeleton: str
    ids: list[str]


def _parts(text: str, *, vary: bool) -> Parts:
    # Before 7.0 Redis tells neither the lag nor that anything was deleted; columns are as wide as what is in
    # them.
    plain = " ".join(re.sub(r" \(lag [\d,]+\)|, and a result of its order may be gone", "", text).split())
    ids = [found["id"] for found in TOKEN.finditer(plain) if found["id"]]
    skeleton = TOKEN.sub(lambda found: "<id>" if found["id"] else "<free>", plain)
    return Parts(NUMBER.sub("<n>", skeleton) if vary else skeleton, ids)


def shape(command: str) -> tuple[str, frozenset[str]]:
    """Return what a command does, apart from what it does it to: its words and its options."""
    words = re.split("[|;>]", command, maxsplit=1)[0].split()[1:]
    names = [each for each in words[:2] if re.fullmatch(r"[a-z]+", each)]
    verb = " ".join(names if names[:1] == ["dead"] else names[:1])
    return verb, frozenset(each.partition("=")[0] for each in words if each.startswith("--"))


def shown_commands(text: str) -> list[str]:
    """Return every command of the worker behind a prompt."""
    return re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(worker [^\n]+)", text, re.MULTILINE)


def blocks(text: str) -> list[str]:
    """Return every command of the worker in what is run."""
    found = (step["console"] or "" for step in STEP.finditer(text))
    return [command for block in found for command in shown_commands(block)]


def named_commands(text: str) -> list[str]:
    """Return every command of the worker that a sentence or a table names."""
    return [" ".join(each.split()) for each in re.findall(r"`(worker [a-z][^`]*)`", text)]


def pages() -> Iterator[Path]:
    """Yield every page of the runbook."""
    yield from sorted(FOLDER.glob("*.md"))
