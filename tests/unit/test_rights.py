"""The files of deploy/ give what the code sends, no more, and no way in."""

import ast
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import redis

from tests.rights import (
    ACL_FILE,
    ADMINISTRATOR,
    FILE,
    HAND_OVER_FILE,
    ROLES,
    ROLES_FILE,
    ROOT,
    USERS,
    commands,
    patterns,
    rules,
)
from worker.store.ground import LAST_VERSION_TABLE, VERSION_TABLE
from worker.store.tables import metadata

STREAM, CLIENT = ROOT / "worker" / "stream", ROOT / "worker" / "client"
BRIDGE = {STREAM / "channel.py", *(STREAM / "scripts" / f"{name}.lua" for name in ("bridge", "fence"))}
KINDS = (redis.Redis, redis.client.Pipeline, redis.client.PubSub)
# What the library has a method for, with underscores: its first word names the command.
KNOWN = {name.split("_")[0].upper() for kind in KINDS for name in dir(kind) if name[0] != "_"}
# What a script is loaded by stands in second place, and an error's code is called like a command.
NO_COMMANDS = {"LOAD", "READONLY"}


def sent_by(files: Iterable[Path]) -> set[str]:
    """Return the commands that Python and scripts name."""
    return {command for each in files for command in _named(each)}


def _named(file: Path) -> set[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".lua":
        return set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
    constants = {each.value for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Constant)}
    return {each for each in constants if isinstance(each, str) and each.isupper()} & KNOWN - NO_COMMANDS


def given_to(*users: str) -> set[str]:
    """Return the first words of the commands that users may run, with all that the page adds."""
    given = {each for user in users for each in commands(user, channel=True, fsynced=True)}
    return {each.partition("|")[0].upper() for each in given}


def sources(folder: Path) -> set[Path]:
    """Return the files of a room that may name commands."""
    return {each for each in folder.rglob("*") if each.suffix in {".py", ".lua"}}


def test_worker_may_run_what_the_room_of_streams_sends_and_nothing_else() -> None:
    sent = sent_by(sources(STREAM) - BRIDGE)

    assert given_to("orders-worker") == sent
    assert given_to("orders-operator") <= sent


def test_bridge_may_run_what_it_sends() -> None:
    assert sources(STREAM) >= BRIDGE
    assert sent_by(BRIDGE) <= given_to("orders-bridge") <= sent_by(sources(STREAM))


@pytest.mark.parametrize(
    ("user", "files"),
    [
        ("orders-producer", {"adding.py", "backlog.py"}),
        ("orders-awaiter", {"tail.py"}),
        ("orders-reader", {"reading.py"}),
    ],
)
def test_program_that_joins_in_may_run_what_its_part_of_the_client_sends_and_nothing_else(
    user: str, files: set[str]
) -> None:
    assert given_to(user) == sent_by(CLIENT / each for each in files)


def test_every_part_of_the_client_that_sends_has_a_user() -> None:
    given = given_to("orders-producer", "orders-awaiter", "orders-reader")

    assert given == sent_by(sources(CLIENT))


def test_every_user_of_redis_but_the_administrator_begins_with_no_right_at_all() -> None:
    for user in USERS:
        assert FILE[user][:3] == ["resetkeys", "resetchannels", "-@all"]


def test_files_hold_no_way_in() -> None:
    written = ACL_FILE.read_text(encoding="utf-8").split()

    assert FILE[ADMINISTRATOR][:2] == ["off", "resetpass"]
    assert not [each for each in written if each in {"on", "nopass"} or each[0] in "#<>"]
    assert not re.search(r"\bpassword '", ROLES_FILE.read_text(encoding="utf-8"), re.IGNORECASE)


def test_roles_have_something_to_do_with_every_table() -> None:
    granted = ROLES_FILE.read_text(encoding="utf-8")

    for table in metadata.tables:
        assert re.search(rf"GRANT [^;]*\b{table}\b[^;]* TO orders_worker;", granted)


def test_every_table_is_handed_over() -> None:
    listed = re.search(r"relname IN \(([^)]*)\)", HAND_OVER_FILE.read_text(encoding="utf-8"))

    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == {*metadata.tables, VERSION_TABLE, LAST_VERSION_TABLE}


SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
# What a user who may run any of these does to a stream that it may use.
DOES = {
    "reads": {"xread", "xreadgroup", "xrange", "xrevrange"},
    "adds": {"xadd"},
    "settles": {"xack", "xclaim", "xautoclaim", "xtrim", "xdel"},
    "deletes": {"del", "set"},
}
STREAMS = ("orders", "order_results", "orders:dead")
OTHER_KEYS = ("order_results:settled:orders", "orders:aside:execution", "orders:bridge:orders")
NOBODY_MAY = {
    *(
        "acl",
        "config",
        "config|set",
        "debug",
        "eval",
        "failover",
        "flushall",
        "flushdb",
        "function",
        "migrate",
    ),
    *("module", "rename", "renamenx", "replicaof", "restore", "shutdown", "slaveof", "swapdb"),
}
NOTHING = "\N{EN DASH}"


def table(first: str) -> dict[str, list[str]]:
    """Return the cells of each row of a table of the security page, by the name in its first one."""
    (found,) = re.findall(rf"^\| {first} \|.*?\n\|[-|]+\n((?:\|.*\n)+)", SECURITY, re.MULTILINE)
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]
    return {name.strip("`"): cells for name, *cells in rows}


def does(user: str, key: str) -> str:
    """Return what a user may do to a stream."""
    if not reaches(user, key):
        return NOTHING
    run = {each.lower() for each in commands(user)}
    return ", ".join(word for word, needs in DOES.items() if needs & run) or "looks"


def reaches(user: str, key: str) -> bool:
    return any(fnmatchcase(key, each[1:]) for each in patterns(user) if each[0] == "~")


def writes(user: str) -> str:
    """Return whether a user may write any key of the fleet beside the streams."""
    may = {"set", "del", "zadd", "hset"} & set(commands(user))
    return "writes" if may and any(reaches(user, key) for key in OTHER_KEYS) else NOTHING


def test_security_page_says_what_each_user_of_redis_may_do_to_each_stream() -> None:
    made = {user: [*(does(user, stream) for stream in STREAMS), writes(user)] for user in USERS}

    assert table("user of Redis") == made
    assert not any(NOBODY_MAY & {each.lower() for each in commands(user)} for user in USERS)
    assert not any(each.startswith("+@") for user in USERS for each in rules(user))


def test_security_page_says_what_each_role_of_postgresql_may_do_to_each_table() -> None:
    granted: dict[tuple[str, str], str] = {}
    sql = ROLES_FILE.read_text(encoding="utf-8")
    for rights, names, role in re.findall(r"GRANT ([A-Z, ()a-z_]+?) ON ([a-z_, ]+) TO (orders_\w+);", sql):
        granted |= {(role, name.strip()): rights for name in names.split(",")}
    names = ["orders", "trades", "order_sources", "order_prunings", VERSION_TABLE]
    told = table("role of PostgreSQL")

    assert set(names) == {*metadata.tables, VERSION_TABLE}
    assert told.pop("orders_migrate") == ["owns"] * len(names)
    assert told == {role: [granted.get((role, name), NOTHING) for name in names] for role in ROLES[1:]}
