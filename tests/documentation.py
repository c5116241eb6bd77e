"""The configuration page, made from settings. `python -m tests.documentation` writes it, a test compares."""

from pathlib import Path

from msgspec.structs import fields

from worker.settings import Settings, marks, variable

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

HEAD = """# Configuration

Everything comes from the environment and is read once, before anything connects. A bad value ends the start
with exit code 78 and one line per bad variable, all at once. `REDIS_URL`, `DATABASE_URL` and
`WORKER_VENUE_URL` may stand in a file instead, named by `REDIS_URL_FILE`, `DATABASE_URL_FILE` and
`WORKER_VENUE_URL_FILE`. They are read again for every connection: a password that was changed at the server
and in its file is taken up without a restart. So is another host of Redis or PostgreSQL, but not another
venue: it would not know what the first was sent. A file that is no good any more is a warning, and what it
said before stands.

A `WORKER_` variable that does not exist is a warning with the nearest name.

Six rules join settings: the three streams must differ and, where `REDIS_URL` names a cluster, share a hash
tag, `WORKER_LEASE_MS` must be longer than `WORKER_TRANSACTION_TIMEOUT_S` and than `WORKER_EXECUTE_TIMEOUT_S`,
`WORKER_BATCH_BYTES` must be no less than `WORKER_MAX_ENTRY_BYTES`, `WORKER_EXECUTOR=venue` needs a
`WORKER_VENUE_URL`, and `WORKER_CONNECTION_MAX_AGE_S` must be at least twice as long as
`WORKER_TRANSACTION_TIMEOUT_S` and as `WORKER_BLOCK_MS`: what is in use when it is to be renewed finishes
first.

| variable | default | meaning |
|---|---|---|
"""


def configuration() -> str:
    """The page."""
    rows = []
    for field in fields(Settings):
        default = "required" if field.required else f"`{field.default}`"
        meaning = marks(field)[-1].description
        rows.append(
            f"| `{variable(field.name)}` | {'none' if field.default is None else default} | {meaning} |\n"
        )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(configuration(), encoding="utf-8")
