"""Reading the table of processes."""

import os

import pytest

from local.process_table import ProcessRow, children_of, parse_stat, process_table


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("17 (postgres) S 3 17 17 0", ProcessRow(parent=3, inert=False)),
        ("17 (postgres: io worker 0) T 3 17 17 0", ProcessRow(parent=3, inert=True)),
        ("17 (postgres) Z 3 17 17 0", ProcessRow(parent=3, inert=True)),
        ("17 (a) R 1 (b) S 3 17 17 0", ProcessRow(parent=3, inert=False)),
    ],
)
def test_process_is_read_when_its_name_holds_blanks_and_brackets(text: str, row: ProcessRow) -> None:
    assert parse_stat(text) == row


def test_process_table_knows_this_process_and_its_parent() -> None:
    row = process_table()[os.getpid()]

    assert row == ProcessRow(parent=os.getppid(), inert=False)
    assert os.getpid() in children_of(os.getppid())
