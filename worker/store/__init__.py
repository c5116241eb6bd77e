"""Speaks SQL: the rows of orders and trades, the inbox, the schema."""

from worker.store.audit_pages import StoreEvidence
from worker.store.demands import require_fit, require_postgresql
from worker.store.engine import Database
from worker.store.orders import OrderStore
from worker.store.queries import OrderRow, RecentOrders, StoreInspector
from worker.store.rehearsal import rehearse
from worker.store.searching import OrderSearch
from worker.store.sources import Sources

__all__ = [
    "Database",
    "OrderRow",
    "OrderSearch",
    "OrderStore",
    "RecentOrders",
    "Sources",
    "StoreEvidence",
    "StoreInspector",
    "rehearse",
    "require_fit",
    "require_postgresql",
]
