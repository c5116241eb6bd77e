"""The image by itself: what it says, whom it runs as, and how it ends when it can't start."""

import json
import os
import re

import pytest

from tests.container.stack import ROOT, docker, inspect
from tests.skips import BASE
from worker import __version__

HARDENED = ("--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def test_image_says_its_version_and_runs_as_nobody_special(image: str) -> None:
    assert docker("run", *HARDENED, image, "--version").stdout == f"worker, version {__version__}\n"
    assert inspect(image, '{{index .Config.Labels "org.opencontainers.image.version"}}') == __version__
    assert inspect(image, '{{index .Config.Labels "org.opencontainers.image.base.name"}}') == os.environ.get(
        "BASE", BASE
    )
    assert inspect(image, "{{.Config.User}}") == "10001:10001"


def test_image_holds_no_installer_and_no_address_of_a_server(image: str) -> None:
    found = docker("run", *HARDENED, "--entrypoint", "python", image, "-c", "import pip", check=False)

    assert "ModuleNotFoundError" in found.stderr
    assert "_URL" not in inspect(image, "{{.Config.Env}}")


def test_image_lists_what_is_installed_in_it(image: str) -> None:
    file = "/opt/worker/sbom.cdx.json"
    listed = json.loads(docker("run", *HARDENED, "--entrypoint", "cat", image, file).stdout)
    pins = (ROOT / "requirements" / "worker.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", pins, re.MULTILINE))

    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["version"] == __version__
    found = {each["name"].lower().replace("_", "-"): each["version"] for each in listed["components"]}
    assert {"redis", "sqlalchemy", "psycopg"} <= found.keys()
    assert found.items() <= pinned.items()


@pytest.mark.parametrize("command", ["run", "migrate", "status", "submit"])
def test_every_command_starts_under_any_user(image: str, command: str) -> None:
    done = docker("run", *HARDENED, "--user", "54321:54321", image, command, "--help")

    assert done.stdout.startswith(f"Usage: worker {command}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "REDIS_URL: is not set"),
        ({"REDIS_URL_FILE": "/run/secrets/none"}, "REDIS_URL_FILE: can't be read"),
        ({"WORKER_BATCH_SIZE": "0"}, "WORKER_BATCH_SIZE: "),
    ],
)
def test_container_ends_with_a_clear_line_when_its_settings_are_bad(
    image: str, settings: dict[str, str], says: str
) -> None:
    options = [f"--env={name}={value}" for name, value in settings.items()]

    done = docker("run", *HARDENED, *options, image, check=False)

    assert done.returncode == 78
    assert says in done.stderr
    assert "Traceback" not in done.stderr
