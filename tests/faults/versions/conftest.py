"""The last version, unpacked once for all that run it."""

from pathlib import Path

import pytest

from tests.faults.versions import last


@pytest.fixture(scope="session")
def last_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the last version."""
    return last.unpack(tmp_path_factory.mktemp("last-version"))
