"""Reading a stream page by page: every entry once, and no page as large as a stream of large entries."""

import pytest

from tests.harness import Deployment
from worker.bootstrap.parts.connections import redis_link
from worker.domain.deliveries import FIRST_COUNT
from worker.stream.paging import PAGE, PAGE_BYTES, pages

LARGE = PAGE_BYTES // 4 - len("note")
COUNT = 30


@pytest.fixture
def entry_ids(deployment: Deployment) -> list[str]:
    """Some large entries between small ones."""
    sizes = [1] * COUNT + [LARGE] * COUNT + [1] * COUNT
    return [deployment.add_raw("note", "x" * size) for size in sizes]


def walked(deployment: Deployment, first: str, last: str, *, backwards: bool = False) -> list[list[str]]:
    with redis_link(deployment.settings(), "looking") as link:
        return [
            [entry_id.decode() for entry_id, _ in page]
            for page in pages(link, deployment.orders, first, last, backwards=backwards)
        ]


@pytest.mark.parametrize("backwards", [False, True])
def test_every_entry_is_met_once_and_few_large_ones_at_a_time(
    deployment: Deployment, entry_ids: list[str], *, backwards: bool
) -> None:
    met = walked(deployment, "-", "+", backwards=backwards)

    flat = [each for page in met for each in page]
    assert flat == (entry_ids[::-1] if backwards else entry_ids)
    large = set(entry_ids[COUNT : 2 * COUNT])
    # The first of them may come at the count that small ones have allowed.
    full = [page for page in met if set(page) <= large]
    assert len(met[0]) == FIRST_COUNT
    assert [len(page) for page in full[1:-1]] == [4] * len(full[1:-1])
    assert len(full) >= COUNT // 2 // 4


def test_pages_keep_to_their_bounds(deployment: Deployment, entry_ids: list[str]) -> None:
    inner = walked(deployment, f"({entry_ids[2]}", entry_ids[-4])
    nothing = walked(deployment, f"({entry_ids[-1]}", "+")

    assert [each for page in inner for each in page] == entry_ids[3:-3]
    assert nothing == []
    assert max(map(len, inner)) <= PAGE
