"""What the documents say is what the code does."""

import ast
import re
from pathlib import Path

import pytest

from tests import architecture
from tests.builders import pairs, record
from tests.documentation import PAGE, configuration
from worker.domain.orders import DeadReason, Labels
from worker.wire import result_fields
from worker.wire.names import ORDER_FIELDS

ROOT = PAGE.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_configuration_page_is_what_the_settings_say() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == configuration(), "run: python -m tests.documentation"


def test_architecture_page_is_what_the_code_says() -> None:
    written = architecture.PAGE.read_text(encoding="utf-8")

    assert written == architecture.architecture(), "run: python -m tests.architecture"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]{15,})`", page.read_text(encoding="utf-8")))
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))

    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in ROOT.glob("worker/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }

    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}


def test_pages_name_each_reason_of_a_dead_letter() -> None:
    rows = re.findall(
        r"^\| (`[^|]+`) \|", (ROOT / "docs/runbook/dead-letters.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    (listed,) = re.findall(r"`reason` \(([a-z_, ]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(DeadReason)
    assert sorted(listed.split(", ")) == sorted(DeadReason)


def test_first_page_names_each_field_of_an_order_and_of_a_result() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    order = page.partition("### `orders`, in\n")[2].partition("Or one field")[0]
    result = page.partition("### `order_results`, out\n")[2].partition("With `")[0]
    said = Labels(**dict.fromkeys(Labels.__struct_fields__, "x"))
    row = record("a", labels=said, error_message="x", traceparent="x")

    assert set(re.findall(r"`(\w+)`", order)) - {"order"} == ORDER_FIELDS
    assert set(re.findall(r"`(\w+)[`=]", result)) == pairs(result_fields(row)).keys()


RECIPES = {
    "A new field of an order": ("client_id", "worker/store/ground.py"),
    "A new reason of dead letters": ("database_rejected|DATABASE_REJECTED|ambiguous|AMBIGUOUS", ""),
    "A new executor": ("venue_url|VENUE_URL|VenueExecutor", ""),
}


@pytest.mark.parametrize("title", RECIPES)
def test_recipe_names_every_file_that_knows_the_one_that_is_there_already(title: str) -> None:
    example, names_none = RECIPES[title]
    recipe = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"### {title}\n")[1].split("\n##")[0]
    )
    named = re.findall(r"\]\(([^)#]+)", recipe)

    files = [
        *ROOT.glob("worker/**/*.py"),
        *ROOT.glob("worker/**/*.lua"),
        ROOT / "README.md",
        ROOT / "docs/openapi.yaml",
    ]
    know = {
        str(path.relative_to(ROOT))
        for path in files
        if re.search(rf"\b({example})\b", path.read_text(encoding="utf-8"))
    }

    assert {path for path in know if not any(f"{path}/".startswith(f"{each}/") for each in named)} == set()
    assert names_none in {"", *named}


def test_pages_count_the_conditions_and_the_planted_bugs_that_there_are() -> None:
    conditions = len(
        re.findall(r"^\| [a-z]+: ", (ROOT / "docs/environment.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    bugs = (ROOT / "tests/faults/mutants/mutants.toml").read_text(encoding="utf-8").count("[[mutant]]")
    told = "".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert set(re.findall(r"([\d,]+) conditions\b", told)) == {str(conditions)}
    assert set(re.findall(r"([\d,]+)(?: planted)? bugs\b|mutants\.toml\) lists (\d+)", told)) == {
        (str(bugs), ""),
        ("", str(bugs)),
    }


def test_first_page_counts_the_promises_and_has_eight_of_them() -> None:
    rows = {
        name: re.findall(r"^\| (.+?) \|.*\[`test_", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("README.md", "docs/promises.md")
    }
    (said,) = re.findall(r"All (\d+) promises", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert int(said) == len(rows["docs/promises.md"])
    assert len(rows["README.md"]) == 8
    assert set(rows["README.md"]) <= set(rows["docs/promises.md"])
