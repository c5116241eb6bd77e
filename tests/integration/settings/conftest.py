"""Each test here names the settings that it tries, each with a value other than the default."""

from typing import Any

import pytest


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings whose effect the test is to see; `...` stands for what only the test itself can know."""
    marker = request.node.get_closest_marker("effect_of")
    assert marker is not None
    return {name: value for name, value in marker.kwargs.items() if value is not ...}
