"""The Lua scripts, each one atomic step on the server."""

from importlib.resources import files


def source(name: str) -> str:
    """Return the text of one script."""
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
