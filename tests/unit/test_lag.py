"""The lag that a server tells of is known, or it is not."""

import pytest

from worker.stream.xinfo import group_details


@pytest.mark.parametrize(
    ("told", "known"),
    [({}, None), ({"lag": None}, None), ({"lag": -95}, None), ({"lag": 0}, 0), ({"lag": 7}, 7)],
)
def test_lag_is_not_known_when_a_server_does_not_tell_it_or_counts_below_zero(
    told: dict[str, int | None], known: int | None
) -> None:
    group = {"name": b"execution", "pending": 0, "last-delivered-id": b"5-1"}

    assert group_details(group | told).lag == known
