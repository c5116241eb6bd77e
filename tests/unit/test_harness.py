"""What tests wait for: longer where the machine is busy, and not for ever."""

import os
import time
from dataclasses import replace

import pytest

from tests.harness import Deployment, Servers, eventually


def busy(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (times * (os.cpu_count() or 1), 0.0, 0.0))


def test_what_takes_longer_on_a_busy_machine_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    busy(monkeypatch, times=1000)
    began = time.monotonic()

    eventually(lambda: time.monotonic() - began > 0.1, within=0.01)


@pytest.mark.parametrize("times", [0.1, 3])
def test_what_never_comes_is_waited_for_no_longer_than_the_machine_is_busy(
    monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    busy(monkeypatch, times)
    began = time.monotonic()

    with pytest.raises(AssertionError, match=r"not within 0 s \(0\.05 s on an idle machine\)"):
        eventually(lambda: False, within=0.05)

    assert time.monotonic() - began >= 0.05 * max(1, times)


def test_names_have_the_hash_tag_in_a_cluster_alone_and_keep_it_elsewhere() -> None:
    alone = Servers("redis://127.0.0.1:1", "postgresql://127.0.0.1:1/any")
    in_a_cluster = replace(alone, way="redis+cluster://127.0.0.1:1")

    with Deployment(alone, "t1", "any") as one, Deployment(in_a_cluster, "t1", "any") as other:
        assert (one.orders, one.key("copies")) == ("t1:orders", "t1:copies")
        assert (other.orders, other.key("copies")) == ("{orders}t1:orders", "{orders}t1:copies")
        assert other.fleet.source == "orderst1:orders"
        with other.elsewhere(alone) as moved:
            assert (moved.orders, moved.results) == (other.orders, other.results)
