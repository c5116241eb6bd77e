"""A Redis Streams consumer-group worker that executes each order once and publishes its result once."""

__version__ = "0.2.0"
