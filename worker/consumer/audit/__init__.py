"""Proves I1 to I5 for all that can be seen, and mends what Redis has lost."""

from worker.consumer.audit.remedies import Remedies
from worker.consumer.audit.walk import Audit, Seen

__all__ = ["Audit", "Remedies", "Seen"]
