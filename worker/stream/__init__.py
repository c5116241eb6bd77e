"""Speaks Redis: reading, keeping, settling and inspecting the entries of one consumer group."""

from worker.stream.connection import RedisLink, RedisNames
from worker.stream.inspection import StreamInspector
from worker.stream.orders import OrderStream
from worker.stream.submission import Submitter

__all__ = ["OrderStream", "RedisLink", "RedisNames", "StreamInspector", "Submitter"]
