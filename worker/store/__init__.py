"""Speaks SQL: the rows of orders and trades, the inbox, the schema."""

from worker.store.audit_pages import StoreEvidence
from worker.store.demands import require_fit, require_postgresql
from worker.store.engine import Database
from worker.store.exporting import RowsToExport
from worker.store.orders import OrderStore
from worker.store.pruning import RowsToPrune
from worker.store.queries import OrderRow, RecentOrders, StoreInspector
from worker.store.rehearsal import rehearse, rehearse_pruning
from worker.store.searching import OrderSearch
from worker.store.sources import Sources

__all__ = [
    "Database",
    "OrderRow",
    "OrderSearch",
    "OrderStore",
    "RecentOrders",
    "RowsToExport",
    "RowsToPrune",
    "Sources",
    "StoreEvidence",
    "StoreInspector",
    "rehearse",
    "rehearse_pruning",
    "require_fit",
    "require_postgresql",
]
