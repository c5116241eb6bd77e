"""What can be wrong with Redis while a replica works."""

from collections.abc import Iterator
from functools import partial
from threading import Thread

import pytest
import redis

from tests.faults.environment.lending import healing
from tests.faults.environment.site import PASSWORD, Site
from tests.faults.environment.trial import Condition, Injection, Strike
from tests.harness import eventually

ENDLESS = "while true do end"
NOBODY = ("127.0.0.1", 1)
# Looked at between a thousand commands each: enough of them for a while in which clients are answered.
COMMANDS_TO_LOAD = 15_000


def configured(**settings: str | int) -> Injection:
    """An injection that changes settings of the server."""

    @healing
    def inject(site: Site) -> Iterator[Strike]:
        with site.configured(**settings):
            yield None

    return inject


@healing
def demoted(site: Site) -> Iterator[Strike]:
    site.deployment.redis.replicaof(*NOBODY)
    yield None
    site.deployment.redis.replicaof("NO", "ONE")


@healing
def cut_off_from_its_master(site: Site) -> Iterator[Strike]:
    with site.configured(replica_serve_stale_data="no"), demoted(site):
        yield None


@healing
def busy(site: Site) -> Iterator[Strike]:
    def loop() -> None:
        with site.another_client() as client, pytest.raises(redis.ResponseError, match="SCRIPT KILL"):
            client.eval(ENDLESS, 0)

    with site.configured(lua_time_limit=20):
        looping = Thread(target=loop)
        looping.start()
        eventually(partial(_is_busy, site))
        yield None
        site.deployment.redis.script_kill()
        looping.join()


def _is_busy(site: Site) -> bool:
    try:
        site.deployment.redis.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@healing
def loading(site: Site) -> Iterator[Strike]:
    with site.deployment.redis.pipeline(transaction=False) as pipeline:
        for _ in range(COMMANDS_TO_LOAD):
            pipeline.incr(f"{site.name}:to-load")
        pipeline.execute()

    def reload() -> None:
        with site.another_client() as client:
            client.execute_command("DEBUG", "LOADAOF")

    with site.configured(key_load_delay=50):
        reloading = Thread(target=reload)
        yield reloading.start
        reloading.join()


@healing
def full_of_clients(site: Site) -> Iterator[Strike]:
    with site.configured(maxclients=1):
        site.cut_redis()
        yield None


@healing
def all_clients_cut(site: Site) -> Iterator[Strike]:
    site.command("CLIENT", "KILL", "TYPE", "normal")
    yield None


@healing
def password_changed(site: Site) -> Iterator[Strike]:
    site.acl("resetpass", ">another")
    site.cut_redis()
    yield None
    site.acl("resetpass", f">{PASSWORD}")


@healing
def user_off(site: Site) -> Iterator[Strike]:
    site.acl("off")
    site.cut_redis()
    yield None
    site.acl("on")


@healing
def command_forbidden(site: Site) -> Iterator[Strike]:
    site.acl("-evalsha")
    yield None
    site.acl("+evalsha")


@healing
def command_of_a_script_forbidden(site: Site) -> Iterator[Strike]:
    site.acl("-xadd")
    yield None
    site.acl("+xadd")


@healing
def keys_forbidden(site: Site) -> Iterator[Strike]:
    site.acl("resetkeys")
    yield None
    site.acl("allkeys")


@healing
def scripts_flushed(site: Site) -> Iterator[Strike]:
    site.deployment.redis.script_flush()
    yield None


@healing
def clients_paused(site: Site) -> Iterator[Strike]:
    # Whoever asks to end it is paused as well.
    site.deployment.redis.client_pause(1500)
    yield None
    site.deployment.redis.ping()


@healing
def asleep(site: Site) -> Iterator[Strike]:
    def sleep() -> None:
        with site.another_client() as client:
            client.execute_command("DEBUG", "SLEEP", "1.5")

    sleeping = Thread(target=sleep)
    yield sleeping.start
    sleeping.join()


@healing
def results_replaced(site: Site) -> Iterator[Strike]:
    site.deployment.redis.set(site.deployment.results, "no stream")
    yield None
    site.deployment.redis.delete(site.deployment.results)


@healing
def orders_replaced(site: Site) -> Iterator[Strike]:
    client, orders = site.deployment.redis, site.deployment.orders
    client.rename(orders, f"{orders}:away")
    client.set(orders, "no stream")
    yield None
    client.rename(f"{orders}:away", orders)


@healing
def marks_replaced(site: Site) -> Iterator[Strike]:
    marks = site.deployment.marks
    site.deployment.redis.set(marks, "no set")
    yield None
    site.deployment.redis.delete(marks)


@healing
def shut_down(site: Site) -> Iterator[Strike]:
    site.deployment.redis.shutdown(nosave=True)
    site.redis_server.stop()
    yield None
    site.redis_server.start()
    site.admit()


@healing
def killed(site: Site) -> Iterator[Strike]:
    site.redis_server.kill()
    yield None
    site.redis_server.start()
    site.admit()


@healing
def silent(site: Site) -> Iterator[Strike]:
    site.redis_server.pause()
    yield None
    site.redis_server.resume()


@healing
def group_destroyed(site: Site) -> Iterator[Strike]:
    site.deployment.redis.xgroup_destroy(site.deployment.orders, site.deployment.group)
    yield None


@healing
def group_set_to_the_beginning(site: Site) -> Iterator[Strike]:
    site.deployment.redis.xgroup_setid(site.deployment.orders, site.deployment.group, "0")
    yield None


@healing
def consumers_deleted(site: Site) -> Iterator[Strike]:
    client, orders, group = site.deployment.redis, site.deployment.orders, site.deployment.group
    for consumer in client.xinfo_consumers(orders, group):
        client.xgroup_delconsumer(orders, group, consumer["name"])
    yield None


CONDITIONS = [
    Condition("redis: out of memory", configured(maxmemory=1), "maxmemory", True),
    Condition("redis: read-only replica", demoted, "read only replica", True),
    Condition("redis: replica without its master", cut_off_from_its_master, "MasterDown", True),
    Condition("redis: too few replicas", configured(min_replicas_to_write=1), "NOREPLICAS", True),
    Condition("redis: loading its data", loading, "BusyLoading", True),
    Condition("redis: busy with a script", busy, "BUSY", True),
    Condition("redis: too many clients", full_of_clients, "max number of clients", True),
    Condition("redis: password changed", password_changed, "AuthenticationError", True),
    Condition("redis: user switched off", user_off, "AuthenticationError", True),
    Condition("redis: scripts forbidden", command_forbidden, "NoPermissionError", True),
    Condition(
        "redis: a command of a script forbidden",
        command_of_a_script_forbidden,
        "a script may not run XADD|no permissions to run",
        True,
    ),
    Condition("redis: keys forbidden", keys_forbidden, "NoPermissionError", True),
    Condition("redis: scripts flushed", scripts_flushed, "", True),
    Condition("redis: every client cut", all_clients_cut, "", True),
    Condition("redis: clients paused", clients_paused, "Timeout", True, answers_within_s=0.3),
    Condition("redis: asleep", asleep, "Timeout", True, answers_within_s=0.3),
    Condition("redis: results are no stream", results_replaced, "WRONGTYPE", True),
    Condition("redis: orders are no stream", orders_replaced, "WRONGTYPE", True),
    Condition("redis: marks are no set", marks_replaced, "WRONGTYPE", True),
    Condition("redis: shut down and started", shut_down, "ConnectionError", True),
    Condition("redis: killed and started", killed, "ConnectionError", True),
    Condition("redis: silent", silent, "Timeout", True, answers_within_s=0.3),
    Condition("redis: group destroyed", group_destroyed, "", True),
    Condition("redis: consumer deleted with a batch in hand", consumers_deleted, "", False),
    Condition("redis: group set to 0", group_set_to_the_beginning, "", True),
]
