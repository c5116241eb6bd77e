"""Tells rows that PostgreSQL has lost though their results were published, as a standby that is promoted may lack the newest."""

from worker.consumer.lost_rows.look import LostRows

__all__ = ["LostRows"]
