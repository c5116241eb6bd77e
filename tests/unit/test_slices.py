"""Large letters are settled in parts, so that nobody waits for all of them; what is small stays together."""

import pytest

from worker.domain.deliveries import Settlement
from worker.stream.orders import MOST_BYTES_AT_ONCE, slices


def letters(*sizes: int) -> list[Settlement]:
    return [Settlement(f"{place}-1", "bury", ["f", b"x" * (size - 1)]) for place, size in enumerate(sizes, 1)]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], [0]),
        ([300] * 500, [500]),
        ([MOST_BYTES_AT_ONCE // 2] * 4, [2, 2]),
        ([3 * MOST_BYTES_AT_ONCE, 10, 10], [1, 2]),
        ([10, 3 * MOST_BYTES_AT_ONCE, 3 * MOST_BYTES_AT_ONCE], [1, 1, 1]),
    ],
)
def test_part_has_as_many_letters_as_fit(sizes: list[int], parts: list[int]) -> None:
    settlements = letters(*sizes)

    found = list(slices(settlements))

    assert [len(part) for part in found] == parts
    assert [each for part in found for each in part] == settlements


def test_results_and_acks_among_letters_stay_in_their_order() -> None:
    mixed = [Settlement("9-1", "ack"), *letters(MOST_BYTES_AT_ONCE), Settlement("9-2", "publish", ["a", "b"])]
    mixed += letters(MOST_BYTES_AT_ONCE)

    found = list(slices(mixed))

    assert [len(part) for part in found] == [3, 1]
    assert [each for part in found for each in part] == mixed
