"""Decides what of a Pub/Sub channel is added to the orders, and what has been; speaks to Redis through the channel of stream/."""

from worker.bridge.backlog import Backlog
from worker.bridge.bridge import Bridge

__all__ = ["Backlog", "Bridge"]
