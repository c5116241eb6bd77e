"""The tests bite: each planted bug makes the test fail that is to catch it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mutants.mutants import (
    FAILED,
    Edit,
    Mutant,
    NoLongerApplies,
    Runs,
    copy_of_the_tree,
    mutants,
)
from tests.faults.reporting import record
from tests.harness import Servers

LEAST = 50

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def runs(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(servers, tmp_path_factory.mktemp("runs"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def sound(request: pytest.FixtureRequest, runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which every test that is to catch something passes, or fails this very run."""
    tree = copy_of_the_tree(tmp_path_factory.mktemp("mutants") / "sound")
    # Those that this run has collected as well need not pass twice.
    run_anyway = {item.nodeid for item in request.session.items}
    run_anyway |= {node.partition("[")[0] for node in run_anyway}
    others = sorted({mutant.caught_by for mutant in mutants()} - run_anyway)
    if others:
        done = runs.run(tree, *others)
        assert done.code == 0, done.said[-3000:]
    return tree


def test_there_are_mutants_of_all_mechanisms() -> None:
    listed = mutants()

    assert len(listed) >= LEAST
    assert len({mutant.name for mutant in listed}) == len(listed)


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_planted_bug_is_caught(mutant: Mutant, sound: Path, runs: Runs, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "mutated", sound)
    mutant.apply(tree)

    done = runs.run(tree, mutant.caught_by)

    tell(mutant)
    # Any other code than that of a failed test says that none was run.
    assert done.code == FAILED, done.said[-800:]


def test_mutant_that_no_longer_applies_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("twice\ntwice\n", encoding="utf-8")

    for before in ("nowhere", "twice"):
        with pytest.raises(NoLongerApplies):
            Edit("code.py", before, "").apply(tmp_path)


def tell(mutant: Mutant) -> None:
    test = mutant.caught_by.rpartition("::")[2]
    record("mutants", mutant.name, mechanism=mutant.mechanism, caught_by=test, kind=mutant.stage)
