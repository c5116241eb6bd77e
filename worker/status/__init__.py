"""Says how everything stands: one typed snapshot of both servers, what it means, and how it is read.

People read it as lines, programs as JSON.
"""

from worker.status.conditions import Condition, Verdict, judge
from worker.status.document import Document, document_of, document_of_database, document_of_streams, printed
from worker.status.lines import lines_of
from worker.status.snapshot import (
    Away,
    Consumer,
    DatabaseSnapshot,
    Letters,
    RedisSnapshot,
    Rules,
    Snapshot,
)

__all__ = [
    "Away",
    "Condition",
    "Consumer",
    "DatabaseSnapshot",
    "Document",
    "Letters",
    "RedisSnapshot",
    "Rules",
    "Snapshot",
    "Verdict",
    "document_of",
    "document_of_database",
    "document_of_streams",
    "judge",
    "lines_of",
    "printed",
]
