"""Pages for people: the fleet, one order, the dead letters."""

from worker.ops.pages.access import Access
from worker.ops.pages.app import pages
from worker.ops.pages.ports import Face

__all__ = ["Access", "Face", "pages"]
