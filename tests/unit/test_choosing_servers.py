"""Where the suite's servers come from, and what a run says of them.

Each reason to leave out a test stands in one place.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import images, origins, servers
from tests.servers import Choice, choose

TESTS = Path(__file__).parents[1]
GIVEN = {"REDIS_URL": "redis://there", "DATABASE_URL": "postgresql://there"}


class Engine:
    """A Docker engine that has some images, or none at all."""

    def __init__(self, patch: pytest.MonkeyPatch, *, answers: bool, lacks: Mapping[str, str]) -> None:
        self.asked = False
        self._answers = answers
        patch.setattr(servers, "docker_answers", self._answer)
        patch.setattr(servers, "unusable", lambda image, _program: lacks.get(image))
        patch.delenv("REDIS_IMAGE", raising=False)
        patch.delenv("POSTGRES_IMAGE", raising=False)

    def _answer(self) -> bool:
        self.asked = True
        return self._answers


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, "docker"),
        (GIVEN, "urls"),
        ({"REDIS_URL": "redis://there"}, "docker"),
        ({"SERVERS": "", **GIVEN}, "urls"),
        ({"SERVERS": "docker", **GIVEN}, "docker"),
        ({"SERVERS": "embedded", **GIVEN}, "embedded"),
        ({"SERVERS": "embedded+docker", **GIVEN}, "embedded+docker"),
        ({"SERVERS": "urls", **GIVEN}, "urls"),
    ],
)
def test_given_servers_come_before_containers_and_a_word_before_both(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], kind: str
) -> None:
    Engine(monkeypatch, answers=True, lacks={})

    assert choose(environ) == Choice(kind)


def test_programs_of_the_machine_are_taken_where_no_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    Engine(monkeypatch, answers=False, lacks={})

    assert choose({}) == Choice("embedded", "no Docker engine answers")


def test_programs_of_the_machine_are_taken_where_an_image_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Engine(monkeypatch, answers=True, lacks={"postgres:17-alpine": "no route to it"})

    chosen = choose({})

    assert chosen.kind == "embedded"
    assert "the image postgres:17-alpine can't be used: no route to it" in chosen.note


@pytest.mark.parametrize(
    ("answers", "environ", "says"),
    [
        (True, {"SERVERS": "rocket"}, "rocket"),
        (True, {"WAY": "rocket"}, "WAY is 'rocket', not one of sentinel"),
        (True, {"POOLER": "statement"}, "POOLER is 'statement', not one of transaction, session"),
        (True, {"POOLER": "session", "RIGHTS": "least"}, "as an administrator"),
        (True, {"SERVERS": "urls", "REDIS_URL": "redis://there"}, "DATABASE_URL"),
        (False, {"SERVERS": "docker"}, "no Docker engine"),
        (True, {"SERVERS": "docker"}, "redis:8-alpine can't be used: gone"),
        (True, {"SERVERS": "docker+embedded"}, "redis:8-alpine can't be used: gone"),
    ],
)
def test_what_is_asked_for_and_can_not_be_had_is_refused(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], says: str, *, answers: bool
) -> None:
    Engine(monkeypatch, answers=answers, lacks={"redis:8-alpine": "gone"})

    with pytest.raises(ValueError, match=says):
        choose(environ)


def test_only_the_image_that_is_wanted_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    Engine(monkeypatch, answers=True, lacks={"redis:8-alpine": "gone"})

    assert choose({"SERVERS": "embedded+docker"}) == Choice("embedded+docker")


def test_no_engine_is_asked_where_servers_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(monkeypatch, answers=True, lacks={})

    choose(GIVEN)

    assert not engine.asked


def test_run_names_every_server_with_its_version_and_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site-packages" / "packaged" / "bin"
    for path, says in (
        (tmp_path / "valkey-server", "Valkey server v=9.1.2 sha=0"),
        (package / "postgres", "postgres (PostgreSQL) 18.4"),
        (package / "initdb", ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{says}'\n")
        path.chmod(0o755)
    monkeypatch.setenv("LOCAL_REDIS", str(tmp_path / "valkey-server"))
    monkeypatch.setenv("LOCAL_POSTGRES", str(package))

    said = origins.named(Choice("embedded", "no Docker engine answers"))

    programs = f"Valkey 9.1.2 ({tmp_path / 'valkey-server'}), PostgreSQL 18.4 (package packaged)"
    assert said == [
        f"servers: {programs} (embedded)",
        f"servers that tests break: {programs}",
        "no Docker engine answers",
    ]


@pytest.mark.parametrize(
    ("redis_url", "database_url"),
    [
        ("redis://:S3NT1NEL@127.0.0.1:1/0", "postgresql://u:S3NT1NEL@127.0.0.1:1/d"),
        ("S3NT1NEL@127.0.0.1:1", "postgresql+psycopg://u:S3NT1NEL@127.0.0.1:1/d"),
    ],
)
def test_run_that_is_given_servers_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, database_url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", database_url)

    said = "\n".join(origins.named(Choice("urls")))

    assert "not both of which answer" in said
    assert "S3NT1NEL" not in said


def test_reasons_to_leave_out_a_test_stand_in_one_file() -> None:
    elsewhere = [
        path.relative_to(TESTS).as_posix()
        for path in sorted(TESTS.rglob("*.py"))
        if path not in {TESTS / "skips.py", Path(__file__)}
        and any(word in path.read_text(encoding="utf-8") for word in ("pytest.skip", "skipif", "xfail"))
    ]

    assert elsewhere == []


def test_image_that_can_not_be_run_is_told_by_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.CompletedProcess(
            command, 125, "", "pulling\nError: no such host\n\nRun 'docker run --help'\n"
        )

    monkeypatch.setattr(subprocess, "run", run)

    assert images.unusable("nobody:has-it", "redis-server") == "Error: no such host"
