"""The designs compared: the worker, the same work by hand, and what a user would otherwise install."""

from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.designs.forms import Form, enveloped, flat, task

REFERENCE = "reference"


@dataclass(frozen=True, kw_only=True)
class Design:
    """One way to do the work: `python ARGV` is one process of it.

    `share` is the part of the orders it is given: a slow design would otherwise take hours. `batch_variable`
    is the environment variable that sets its batch size.
    """

    name: str
    argv: tuple[str, ...]
    form: Form = flat
    share: float = 1.0
    needs: tuple[str, ...] = ()
    batch_variable: str = ""
    repeats_answered: bool = True
    junk_buried: bool = False

    @property
    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        return [name for name in self.needs if find_spec(name) is None]


# Enough for a rate: a transaction for each order takes forty times as long.
_OF_THE_SLOW = 1 / 40
_REFERENCE = ("-m", "benchmarks.designs.reference")
_LIMIT = ("-m", "benchmarks.designs.limit")
_FASTSTREAM = ("-m", "benchmarks.designs.faststream_app")
_TASKIQ = ("-m", "taskiq", "worker", "benchmarks.designs.taskiq_app:broker", "--workers", "1")

WORKER = Design(
    name="worker",
    argv=("-m", "worker", "run"),
    batch_variable="WORKER_BATCH_SIZE",
    repeats_answered=False,
    junk_buried=True,
)
BY_HAND = Design(name=REFERENCE, argv=_REFERENCE, batch_variable="BENCH_BATCH")
LIMIT = Design(name="limit", argv=_LIMIT, batch_variable="BENCH_BATCH")

DESIGNS = (
    WORKER,
    BY_HAND,
    Design(name="reference again", argv=_REFERENCE, batch_variable="BENCH_BATCH"),
    LIMIT,
    Design(name="limit ahead", argv=(*_LIMIT, "ahead"), batch_variable="BENCH_BATCH"),
    Design(
        name="tutorial",
        argv=("-m", "benchmarks.designs.tutorial"),
        share=_OF_THE_SLOW,
        needs=("pydantic",),
    ),
    Design(
        name="faststream",
        argv=(*_FASTSTREAM, "one"),
        form=enveloped,
        share=_OF_THE_SLOW,
        needs=("faststream", "greenlet", "pydantic"),
    ),
    Design(
        name="faststream batch",
        argv=(*_FASTSTREAM, "batch"),
        form=enveloped,
        share=1 / 4,
        needs=("faststream", "greenlet", "pydantic"),
    ),
    Design(
        name="taskiq",
        argv=(*_TASKIQ, "--log-level", "WARNING"),
        form=task,
        share=_OF_THE_SLOW,
        needs=("taskiq", "taskiq_redis", "greenlet", "pydantic"),
    ),
)
