"""Reads the settings: once, from the environment, before anything connects."""

from worker.settings.checks import Secret
from worker.settings.reading import read_settings, unknown_names
from worker.settings.settings import Settings, marks, variable

__all__ = ["Secret", "Settings", "marks", "read_settings", "unknown_names", "variable"]
