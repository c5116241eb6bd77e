"""Every reason for which a test is left out or expected to fail.

Servers are asked for what they can do, not for their version.
"""

import os
import uuid
from enum import StrEnum
from typing import NoReturn

import pytest
import redis

from tests.harness import HASH_TAG
from tests.images import docker_answers, postgres_image, redis_image, unusable


class Reason(StrEnum):
    """Why a test can't be run here."""

    COUNTS_NOTHING_ADDED = "this server does not count added entries, as Redis does from 7.0 on"
    COUNTS_ADDED = "this server counts added entries, and the test is about those that do not"
    ASKS_FOR_NO_PASSWORD = "the URL that the tests were given names no password to get wrong"
    ONE_DATABASE = "this server has one numbered database, as clusters have"
    NO_TRANSACTION_TIMEOUT = "this server has no transaction_timeout, as PostgreSQL does from 17 on"
    MAY_NOT_MOUNT = "mounting a file system takes root"
    MAY_NOT_UNSHARE = "a process id namespace of one's own takes root and unshare"
    OTHER_SERVERS = "SERVERS asks for other servers than containers"
    NO_ENGINE = "no Docker engine answers `docker info`"
    NO_COMPOSE = "neither the plugin docker compose nor docker-compose is installed"
    NO_CHROMIUM = "no Chromium is on PATH"
    NO_PSQL = "no psql is beside PostgreSQL, or on PATH"
    NO_POOLER = "no pgbouncer is on PATH"
    NO_KUBECTL = "no kubectl is on PATH"
    NO_EXPORTER = "no prometheus-redis-exporter is on PATH"
    NO_HAPROXY = "no haproxy is on PATH"
    NO_REDIS_CLI = "no redis-cli is beside Redis, or on PATH"
    NO_PROMETHEUS = "no prometheus or no promtool is on PATH"
    NO_IMAGE = "an image can't be had"
    NO_CLOCK_OF_SUSPENSION = "no clock of this system goes on while the machine is suspended"
    NO_FAKE_CLOCK = "libfaketime, which gives one process another clock, is not installed"
    NO_VALKEY = "the packaged Valkey is not installed, or does not run here"
    NO_TLS = "this build of Redis can not speak TLS"
    NO_LAST_VERSION = "the last version can't be had: this takes git and the history"


# What reports call a test that was left out, and one that failed as it was expected to.
SKIPPED, EXPECTED_TO_FAIL = "pytest.skip", "pytest.xfail"
# What the image of the worker is built on, as in the Makefile.
BASE = "python:3.13-slim"


def skip(reason: Reason, more: str = "") -> NoReturn:
    """Leave out the test that runs now."""
    pytest.skip(f"{reason}: {more}" if more else str(reason))


def counts_added(client: redis.Redis) -> bool:
    """Whether a server counts what is added to a stream, as Redis does from 7.0 on."""
    # In a cluster the client knows the node of this slot alone.
    stream = f"{HASH_TAG}counted-{uuid.uuid4().hex}"
    client.xadd(stream, {"a": 1})
    counts = "entries-added" in client.xinfo_stream(stream)
    client.delete(stream)
    return counts


def skip_without_containers() -> None:
    """Leave out the test where containers are not wanted, or can't be had."""
    if os.environ.get("SERVERS") not in {None, "", "docker"}:
        skip(Reason.OTHER_SERVERS)
    if not docker_answers():
        skip(Reason.NO_ENGINE)
    for image, program in (
        (os.environ.get("BASE", BASE), "python"),
        (redis_image(), "redis-server"),
        (postgres_image(), "postgres"),
    ):
        why = unusable(image, program)
        if why:
            skip(Reason.NO_IMAGE, f"{image}: {why}")
