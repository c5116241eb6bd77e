"""The page on joining in, run from top to bottom, and the examples beside it."""

import ast
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.acceptance.test_migration_page import commands, run, shell
from tests.accounts import with_user
from tests.harness import Deployment, eventually
from tests.processes import ROOT, workers

PAGE = ROOT / "docs" / "join-in.md"
STEP = re.compile(r"```(?P<kind>console|python|text)\n(?P<text>.*?)```", re.DOTALL)
NAMED = re.compile(r"# (\w+\.py)\n")
PYTEST = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c/dev/null", "--rootdir=.", ".")
# The programs among the examples, with arguments.
JOINING_IN = {
    "producer.py": ("X", "BUY", "1", "2", "a"),
    "reader.py": ("one", "0.5"),
    "traced_producer.py": ("a",),
    "traced_reader.py": ("one", "0.5"),
}
EXAMPLES = sorted(path.name for path in ROOT.glob("examples/*.py"))


def test_every_step_of_the_page_does_what_it_shows(
    own_deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", own_deployment.servers.redis_url)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shared: dict[str, object] = {}
    printed = io.StringIO()

    with shell(own_deployment, tmp_path) as terminal:
        for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
            if step["kind"] == "console":
                for command, said in commands(step["text"]):
                    run(terminal, command, said)
            elif step["kind"] == "text":
                assert printed.getvalue() == step["text"]
            elif named := NAMED.match(step["text"]):
                (tmp_path / named[1]).write_text(step["text"], encoding="utf-8")
            else:
                printed = io.StringIO()
                with redirect_stdout(printed):
                    exec(step["text"], shared)  # noqa: S102  the page's own lines

    assert printed.getvalue().splitlines()[0] == "desk-1 FILLED"
    assert len(printed.getvalue().splitlines()) == 2
    shared["client"].close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("page", "files"),
    [
        ("write-an-executor.md", {"mine.py", "test_at_the_limit.py"}),
        ("join-in.md", {"conftest.py", "test_mine.py"}),
    ],
)
def test_tests_that_a_page_shows_pass_without_a_warning(page: str, files: set[str], tmp_path: Path) -> None:
    steps = [step["text"] for step in STEP.finditer((ROOT / "docs" / page).read_text(encoding="utf-8"))]
    shown = {named[1]: text for text in steps if (named := NAMED.match(text))}
    if "mine.py" in files:
        shown["mine.py"] = next(text for text in steps if "class AtTheLimit" in text)
    assert shown.keys() == files
    for name, text in shown.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, *PYTEST],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


def example(
    deployment: Deployment, name: str, *arguments: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    urls = {
        "REDIS_URL": deployment.client_url(name.removesuffix(".py")),
        "AWAITING_REDIS_URL": deployment.client_url("awaiter"),
    }
    return subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        env=deployment.process_environment() | urls | {"PYTHONPATH": str(ROOT)} | more,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_examples_work_together(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'examples'}")
    with workers(deployment, tmp_path, 1, executor="executor:AtTheLimit"):
        done = [
            example(deployment, "producer.py", "X", "BUY", "250.5", "2", "a"),
            example(deployment, "producer.py", "X", "BUY", "250.5", "2", "a"),
            example(deployment, "producer.py", "X", "BUY", "9", "2", "a"),
            example(deployment, "producer.py", "X", "HOLD", "1", "2", "b"),
        ]
        eventually(deployment.all_settled)
    first, second = (example(deployment, "reader.py", "one", "0.5") for _ in range(2))

    assert [each.returncode for each in done] == [0, 0, 1, 0], done
    assert done[0].stdout == done[1].stdout == "a FILLED 250.5 at 2\n"
    assert "order a was buried as conflict" in done[2].stdout
    assert [line.split()[:2] for line in first.stdout.splitlines()] == [["a", "BUY"], ["b", "REJECTED"]]
    assert (second.stdout, second.stderr) == ("", "")
    assert len(deployment.rows()["a"].trades) == 3


@pytest.mark.parametrize("url", ["a wrong password", "no URL"])
@pytest.mark.parametrize("name", JOINING_IN)
def test_example_that_redis_does_not_let_in_ends_in_one_line_that_names_what_to_mend(
    deployment: Deployment, name: str, url: str
) -> None:
    wrong = with_user(deployment.servers.redis_url, "nobody-of-that-name", "wrong")

    done = example(deployment, name, *JOINING_IN[name], REDIS_URL=wrong if url == "a wrong password" else "")

    (line,) = [each for each in done.stderr.splitlines() if "REDIS_URL" in each]
    assert done.returncode == 1
    assert line.startswith("mend REDIS_URL")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["producer.py", "traced_producer.py"])
def test_example_that_finds_no_redis_ends_in_one_line_that_says_what_to_do(
    deployment: Deployment, name: str
) -> None:
    done = example(deployment, name, *JOINING_IN[name], REDIS_URL="redis://127.0.0.1:1")

    assert done.returncode == 3
    assert "add it again under the same order id" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_read_at_a_glance(name: str) -> None:
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 40
    assert ast.get_docstring(ast.parse(text))
