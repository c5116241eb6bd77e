"""The page of the commands, made from them. `python -m tests.reference` writes it, a test compares."""

from collections.abc import Iterator
from pathlib import Path

import click

from worker.cli import PURPOSES, main

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """# Commands

This page is made from the commands: `python -m tests.reference` writes it, and a test compares.
`worker --help` and `worker COMMAND --help` say the same. Every command takes [the settings](configuration.md)
from its environment. Standard output is for what was asked for alone; what a command logs goes to standard
error. `run` and `bridge` have nothing else to say, and log to standard output.

| exit code | means |
|---|---|
| 0 | done; nothing needs a person |
| 1 | something was found, or refused |
| 2 | wrong usage |
| 3 | a server is unreachable |
| 70 | a part of a replica had died or a deadline had passed (others take over), or an unexpected error |
| 74 | output could not be written |
| 78 | a setting is bad, access is refused, or the schema is behind |
| 130 | interrupted |

Ids and names in the examples stand for yours.
"""


def every_command(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command, groups as well, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from every_command(found, *path, name)


COMMANDS = dict(every_command(main))


def examples(command: click.Command) -> list[str]:
    """Return the lines that a help tells to type, with their comments."""
    lines = (command.epilog or "").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines if line.strip().startswith("$ ")]


def commands() -> str:
    """Return the page."""
    parts = [HEAD]
    for purpose, names in PURPOSES.items():
        parts.append(f"\n## {purpose}\n")
        for name in names:
            found = [(path, each) for path, each in COMMANDS.items() if path[:1] == (name,)]
            parts += [_section(path, each) for path, each in found]
    return "".join(parts)


def _section(path: tuple[str, ...], command: click.Command) -> str:
    words = " ".join(("worker", *path))
    with click.Context(command, info_name=words) as context:
        usage = " ".join([words, *command.collect_usage_pieces(context)])
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        rows = [found for each in options if (found := each.get_help_record(context)) is not None]
    parts = [f"\n### {words}\n", f"\n    {usage}\n", f"\n{_paragraphs(command.help or '')}\n"]
    if len(rows) > 1:
        parts.append("\n| option | meaning |\n|---|---|\n")
        parts += [f"| `{name}` | {_cell(text)} |\n" for name, text in rows if "--help" not in name]
    parts.append("\n```text\n" + "".join(f"{line}\n" for line in examples(command)) + "```\n")
    return "".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("  [", " [")


if __name__ == "__main__":
    PAGE.write_text(commands(), encoding="utf-8")
