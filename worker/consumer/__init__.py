"""Decides about a delivery: what to take next, what becomes of it, and when to stop.

This room knows no server and no clock.
"""

from worker.consumer.age import Stamps
from worker.consumer.chores import Chores
from worker.consumer.deadlines import Deadlines
from worker.consumer.drain import Drain
from worker.consumer.handling import Handling
from worker.consumer.intake import Intake
from worker.consumer.isolation import Isolation
from worker.consumer.lease import Lease
from worker.consumer.loop import Worker
from worker.consumer.measures import Measures
from worker.consumer.pace import Pace
from worker.consumer.prepared_decoder import PreparedDecoder
from worker.consumer.retention import Retention
from worker.consumer.settling import Settler
from worker.consumer.tally import SignOfLife, Tally, kind

__all__ = [
    "Chores",
    "Deadlines",
    "Drain",
    "Handling",
    "Intake",
    "Isolation",
    "Lease",
    "Measures",
    "Pace",
    "PreparedDecoder",
    "Retention",
    "Settler",
    "SignOfLife",
    "Stamps",
    "Tally",
    "Worker",
    "kind",
]
