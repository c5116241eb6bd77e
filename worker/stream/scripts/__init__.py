"""The Lua scripts, each one atomic step on the server."""

import re
from importlib.resources import files

_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


def source(name: str) -> str:
    """Return the text of one script, with what it includes in place.

    Redis has no libraries that all versions know.
    """
    return _INCLUDE.sub(lambda included: source(included[1]), _text(name))


def _text(name: str) -> str:
    return (files(__name__) / f"{name}.lua").read_text(encoding="utf-8").rstrip()
