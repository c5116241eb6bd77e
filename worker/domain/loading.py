"""What others have written, found by package.module:name."""

from importlib import import_module
from typing import Any


def is_name(text: str) -> bool:
    """Whether a text has the form package.module:name."""
    module, _, attribute = text.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))


def load(name: str) -> Any:  # noqa: ANN401  whatever has that name
    """Return what a name of that form means. Raises whatever importing it raises."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def way_out(error: Exception) -> str:
    """Return what else to say of an error of loading: the way out, where it is known."""
    is_not_found = isinstance(error, ModuleNotFoundError)
    return "; install its package beside the worker, or name its folder in PYTHONPATH" if is_not_found else ""
