"""Logs: one JSON object per line, or text for people; nothing else on the stream."""

import logging
import sys
from io import StringIO
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor

from worker.domain.texts import escaped
from worker.ops.output import LogOutput, standard_output

# Without locals: they hold orders, and URLs with their passwords.
_traceback = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _in_reading_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    logger = event.pop("logger", None)
    return {**first, **event, "logger": logger}


def _all_escaped(_logger: object, _method: str, event: EventDict) -> EventDict:
    # The renderer shows some values as literals and others, the event among them, as they are.
    return {name: escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _indented_traceback(out: TextIO, trace: ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, trace)
    # The text of an exception may look like a line of its own, but for the indent.
    out.writelines(f"\n    {escaped(line)}" for line in text.getvalue().split("\n") if line)


class _Handler(logging.StreamHandler[LogOutput | TextIO]):
    """Goes on without a word when a line can't be written, whatever the reason: orders matter more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the library's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure_logs(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Send this package's logs, and the warnings of libraries, to one stream in one form."""
    out = stream if stream is not None else standard_output()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor]
    if form == "json":
        last = [_traceback, _in_reading_order, structlog.processors.JSONRenderer()]
    else:
        last = [
            _all_escaped,
            structlog.dev.ConsoleRenderer(
                colors=out is not None and out.isatty(), exception_formatter=_indented_traceback
            ),
        ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.NullHandler() if out is None else _Handler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("worker").setLevel(level)
