"""Decides what was lost: the replica's own repair, the audit and its remedies, and rows that are gone."""

from worker.repair.audit import Audit
from worker.repair.doubts import Doubts, tell_of_the_unknown
from worker.repair.lost_rows import LostRows
from worker.repair.own_repair import Repair, note_of
from worker.repair.remedies import Remedies
from worker.repair.scope import Seen

__all__ = ["Audit", "Doubts", "LostRows", "Remedies", "Repair", "Seen", "note_of", "tell_of_the_unknown"]
