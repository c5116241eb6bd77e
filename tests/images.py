"""The engine that containers run in, and the images of Redis and PostgreSQL: whether they can be used."""

import os
import subprocess
import sys
from functools import cache

REDIS_IMAGE = "redis:8-alpine"
POSTGRES_IMAGE = "postgres:17-alpine"
FETCH_LIMIT_S = 300


@cache
def docker_answers() -> bool:
    """Whether a Docker engine can be used here."""
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@cache
def version_in(image: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of an image that says its version, having fetched the image where it is not there."""
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if here.returncode:
        sys.stderr.write(f"fetching the image {image} ...\n")
    # By a shell: given the program, an entry point may make it ready to serve first. With files in memory, as
    # it is to run.
    asking = ["sh", "-c", f"{program} --version"]
    command = ["docker", "run", "--rm", "--tmpfs", "/scratch", image, *asking]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"nothing within {FETCH_LIMIT_S} s")


def unusable(image: str, program: str) -> str | None:
    """Return why a program of an image can't be run, None where it can."""
    tried = version_in(image, program)
    # Without the line that ends what Docker says, on its own help.
    said = [line for line in tried.stderr.splitlines() if line and not line.startswith("Run '")]
    return (said or ["no word"])[-1] if tried.returncode else None


def redis_image() -> str:
    """Return the image that Redis runs from."""
    return os.environ.get("REDIS_IMAGE", REDIS_IMAGE)


def postgres_image() -> str:
    """Return the image that PostgreSQL runs from."""
    return os.environ.get("POSTGRES_IMAGE", POSTGRES_IMAGE)
