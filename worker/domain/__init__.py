"""Frozen values of the flow, and the errors; no I/O."""
