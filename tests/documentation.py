"""The pages of settings and of metrics, made from the code.

`python -m tests.documentation` writes them, a test compares.
"""

from pathlib import Path

from msgspec.structs import fields

from worker.ops.metrics import SECTIONS, Metric
from worker.settings import Settings, marks, variable

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "configuration.md"
METRICS_PAGE = DOCS / "metrics.md"

HEAD = """# Configuration

Everything comes from the environment and is read once, before anything connects. A bad value ends the start
with exit code 78 and one line per bad variable, all at once. `REDIS_URL`, `DATABASE_URL` and
`WORKER_VENUE_URL` may stand in a file instead, named by `REDIS_URL_FILE`, `DATABASE_URL_FILE` and
`WORKER_VENUE_URL_FILE`. They are read again for every connection: a password that was changed at the server
and in its file is taken up without a restart. So is another host of Redis or PostgreSQL, but not another
venue: it would not know what the first was sent. A file that is no good any more is a warning, and what it
said before stands.

A `WORKER_` variable that does not exist is a warning with the nearest name. Traces are switched on by the
variables of OpenTelemetry, which have [a page of their own](traces.md#switch-it-on).

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


METRICS_HEAD = """# Metrics

Every metric of `/metrics`, and the question that it answers at three in the morning. This page is made from
the table in [worker/ops/metrics](../worker/ops/metrics): `python -m tests.documentation` writes it, and a
test compares.

Times are in seconds, sizes in bytes, counters end in `_total` and begin anew with the process. What a
server can't tell, or has not told lately, is missing rather than 0. Labels have few values, all known
beforehand: none holds anything that a producer sent, and each value of a counter is there from the start,
so that its first one is seen. Four names are kept from the service that this worker replaced:
`execution_orders_received_total`, `execution_orders_filled_total`, `execution_orders_rejected_total` and
`execution_uptime_seconds`.

The loop notes what it does a few times for each batch, however many orders that holds; a scrape reads what
is noted, and asks no server ([0037](decisions/0037-metrics.md)). [Alerts](alerts.md) are made of these.

"""

PROCESS = """
Beside these, on Linux, what all programs tell of their process: `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`, `process_max_fds` and
`process_start_time_seconds`.
"""

FLEET = """
## Figures of the whole fleet

What stands on Redis and in PostgreSQL is one figure for the whole fleet, and every replica reports it. A
sum over replicas would count it as often as there are replicas. Retention is a matter of the fleet, too:
whoever did it last tells how long ago that was. [rules.yml](../deploy/prometheus/rules.yml) records each
once; dashboards and alerts use what is recorded. All replicas of a fleet share a `job` (and in Kubernetes a
`namespace`); two fleets under one `job` would be taken for one.

| recorded as | rule |
|---|---|
"""


def metrics() -> str:
    """The page of metrics."""
    sections = (
        f"## {title}\n\n| metric | what it is | question |\n|---|---|---|\n{''.join(map(_row, those))}"
        for title, those in SECTIONS.items()
    )
    rules = (f"| `{recorded_as(each)}` | `{rule(each)}` |\n" for each in of_the_fleet())
    page = METRICS_HEAD + "\n".join(sections) + FLEET + "".join(rules)
    return page.replace("\n## The streams", f"{PROCESS}\n## The streams")


def of_the_fleet() -> list[Metric]:
    """What is one figure for the whole fleet."""
    return [each for those in SECTIONS.values() for each in those if each.fleet]


def recorded_as(metric: Metric) -> str:
    """The name under which a figure of the fleet is recorded once."""
    return f"fleet:{metric.name}:{metric.fleet}"


def rule(metric: Metric) -> str:
    """The expression that does it."""
    labels = ", ".join(("namespace", "job", *metric.labels))
    return f"{metric.fleet} by ({labels}) ({metric.name})"


def _row(metric: Metric) -> str:
    labels = f" by {', '.join(f'`{each}`' for each in metric.labels)}" if metric.labels else ""
    return f"| `{metric.name}` {metric.kind}{labels} | {metric.meaning} | {metric.question} |\n"


if __name__ == "__main__":
    PAGE.write_text(configuration(), encoding="utf-8")
    METRICS_PAGE.write_text(metrics(), encoding="utf-8")
