"""The tests bite: each planted bug makes the test fail that is to catch it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.mutants.mutants import (
    FAILED,
    Edit,
    Mutant,
    NoLongerApplies,
    copy_of_the_tree,
    mutants,
    run_tests,
)
from tests.faults.reporting import record
from tests.harness import Servers

LEAST = 15
AT_ONCE = 2

pytestmark = pytest.mark.timeout(300)


def test_there_are_mutants_of_all_mechanisms() -> None:
    listed = mutants()

    assert len(listed) >= LEAST
    assert len({mutant.name for mutant in listed}) == len(listed)


def test_every_mutant_is_caught_by_tests_that_pass_without_it(servers: Servers, tmp_path: Path) -> None:
    sound = copy_of_the_tree(tmp_path / "sound")
    done = run_tests(sound, servers, *sorted({mutant.caught_by for mutant in mutants()}))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]

    def survived(mutant: Mutant) -> str | None:
        tree = copy_of_the_tree(tmp_path / mutant.name.replace(" ", "-"), sound)
        mutant.apply(tree)
        done = run_tests(tree, servers, mutant.caught_by)
        # Any other code than that of a failed test says that none was run.
        return None if done.returncode == FAILED else f"{mutant.name}: {done.returncode} {done.stdout[-800:]}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        survivors = [found for found in pool.map(survived, mutants()) if found]

    tell()
    assert survivors == []


def test_mutant_that_no_longer_applies_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("twice\ntwice\n", encoding="utf-8")

    for before in ("nowhere", "twice"):
        with pytest.raises(NoLongerApplies):
            Edit("code.py", before, "").apply(tmp_path)


def tell() -> None:
    table = Table("mutant", "mechanism", "caught by", title="planted bugs")
    for mutant in mutants():
        test = mutant.caught_by.rpartition("::")[2]
        table.add_row(mutant.name, mutant.mechanism, f"{mutant.stage}: {test}")
        record("mutants", mutant.name, mechanism=mutant.mechanism, caught_by=test, kind=mutant.stage)
    Console(width=200).print(table)
