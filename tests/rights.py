"""The rights that the files of deploy/ give, and what docs/deploy.md adds to them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ACL_FILE = ROOT / "deploy" / "redis" / "users.acl"
ROLES_FILE = ROOT / "deploy" / "postgres" / "roles.sql"
HAND_OVER_FILE = ROOT / "deploy" / "postgres" / "hand-over.sql"
PAGE = ROOT / "docs" / "deploy.md"
ADMINISTRATOR = "default"
ROLES = ("orders_migrate", "orders_worker", "orders_operator", "orders_pruner", "orders_reader")


def lines_of(start: str, text: str) -> list[tuple[str, list[str]]]:
    """Return the user and the rules of each line that begins so."""
    found = re.findall(rf"^{start} (\S+) (.*)$", text, re.MULTILINE)
    return [(user, rules.split()) for user, rules in found]


FILE = dict(lines_of("user", ACL_FILE.read_text(encoding="utf-8")))
USERS = tuple(user for user in FILE if user != ADMINISTRATOR)
ADDITIONS = lines_of("ACL SETUSER", PAGE.read_text(encoding="utf-8"))


def blocks(language: str) -> list[str]:
    """Return the text of each block in a language on the page, in the section of rights."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Rights\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def rules(user: str, *, channel: bool = False, fsynced: bool = False) -> list[str]:
    """Return the rules of a user of Redis, those for the results channel and WAITAOF where asked for."""
    wanted = {"&results": channel, "+waitaof": fsynced}
    added = [each for name, more in ADDITIONS if name == user and wanted[more[0]] for each in more]
    return FILE[user] + added


def commands(user: str, *, channel: bool = False, fsynced: bool = False) -> list[str]:
    """Return the commands that a user may run."""
    return [each[1:] for each in rules(user, channel=channel, fsynced=fsynced) if each.startswith("+")]


def patterns(user: str, *, channel: bool = False) -> list[str]:
    """Return the rules that say which keys and channels a user may use."""
    return [each for each in rules(user, channel=channel) if each[0] in "~&"]
