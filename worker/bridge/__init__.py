"""Decides what of a Pub/Sub channel is added: each message once, however many bridges hear it."""

from worker.bridge.backlog import Backlog
from worker.bridge.bridge import Bridge

__all__ = ["Backlog", "Bridge"]
