"""Redis as several processes: a primary that Sentinels watch, and a cluster."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

import redis

from local import LocalRedis
from local.directory import free_port, is_free, make_directory, write_secret
from local.redis import find_redis
from tests.harness import eventually

LOOPBACK = "127.0.0.1"
SERVICE, SENTINEL_PASSWORD = "orders-service", "asks-where-it-is"
# How long a server may be silent before it counts as gone; much longer where that is not what is tested.
SILENCE_MS, PATIENCE_MS = 1_000, 60_000
SLOTS = 16_384
# The bus of a cluster is that far above its port, and the kernel gives ports from OUTGOING on to others.
BUS, PORTS = 10_000, range(1024, 32_768)


def port_of_a_cluster() -> int:
    """Return a free port whose cluster bus is on a free one, outside the kernel's outgoing ports."""
    while True:
        port = free_port()
        if port + BUS in PORTS and is_free(port + BUS):
            return port


def asked(server: LocalRedis) -> Any:
    """Return a client of a server, to be closed."""
    return closing(redis.Redis.from_url(server.url, decode_responses=True))


def made_in(folder: Path, password: str, port: int, **settings: str) -> LocalRedis:
    """Start a server at a port, with a password."""
    make_directory(folder)
    write_secret(folder / "password", password)
    (folder / "port").write_text(str(port))
    made = LocalRedis(folder, {"masterauth": password, **settings})
    made.start()
    return made


def _is_loading(server: LocalRedis) -> bool:
    with asked(server) as client:
        return bool(client.info("persistence")["loading"])


class Gathering:
    """Servers that know of each other, and of which one takes our orders at a time."""

    def __init__(self, servers: Sequence[LocalRedis]) -> None:
        self.servers = list(servers)

    @property
    def way(self) -> str:
        """The URL by which workers find the one that takes orders."""
        raise NotImplementedError

    def primary(self) -> LocalRedis:
        """Return the one that takes orders now."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Whether all are there, and in step."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop all that runs."""
        for server in self.servers:
            if server.is_running:
                server.resume()
            server.kill()

    def at(self, port: int) -> LocalRedis:
        """Return the server with a port."""
        return next(each for each in self.servers if each.port == port)

    def await_copies(self) -> None:
        """Return when all replicas have what the primary has."""
        with asked(self.primary()) as client:
            client.wait(len(self.servers) - 1, 10_000)


class Watched(Gathering):
    """A primary with two replicas, and three Sentinels that want to be asked with a password."""

    settings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, folder: Path, silence_ms: int) -> None:
        password = token_hex(8)
        options = {"repl-ping-replica-period": "1", "repl-diskless-sync-delay": "0", **self.settings}
        primary = made_in(folder / "redis-0", password, free_port(), **options)
        following = {"replicaof": f"{LOOPBACK} {primary.port}", **options}
        others = [made_in(folder / f"redis-{n}", password, free_port(), **following) for n in (1, 2)]
        super().__init__([primary, *others])
        self.password = password
        self.ports = [free_port() for _ in range(3)]
        self._sentinels = [
            self._sentinel(folder / f"sentinel-{port}", port, primary, silence_ms) for port in self.ports
        ]
        eventually(self.is_complete, within=30)

    @property
    def way(self) -> str:
        """The URL that names the Sentinels."""
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in self.ports)
        return f"redis+sentinel://:{self.password}@{hosts}/{SERVICE}?sentinel_password={SENTINEL_PASSWORD}"

    def primary(self) -> LocalRedis:
        """Return what the Sentinels call the primary."""
        while True:
            with suppress(redis.RedisError), self._asked(self.ports[0]) as client:
                return self.at(int(client.sentinel_master(SERVICE)["port"]))

    def is_complete(self) -> bool:
        """Whether every Sentinel knows the others, and both replicas are in step."""
        for port in self.ports:
            try:
                with self._asked(port) as client:
                    said = client.sentinel_master(SERVICE)
            except redis.RedisError:
                return False
            if (said["num-other-sentinels"], said["num-slaves"], said["flags"]) != (2, 2, "master"):
                return False
        with asked(self.primary()) as client:
            known = client.info("replication")
        if any(known.get(f"slave{n}", {}).get("state") != "online" for n in (0, 1)):
            return False
        # One that is sent everything is in step for its primary before it has loaded that.
        return not any(map(_is_loading, self.servers))

    def fail_over(self) -> None:
        """Have the Sentinels promote a replica, as a person asks for it. The primary of before lives on."""
        before = self.primary()
        with self._asked(self.ports[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        eventually(lambda: self.primary() is not before, within=30)

    def names_of_clients(self) -> list[str]:
        """Return the name of each connection to any Sentinel."""
        names = []
        for port in self.ports:
            with self._asked(port) as client:
                names += [each["name"] for each in client.client_list()]
        return names

    def stop(self) -> None:
        """Stop the Sentinels and the servers."""
        for each in self._sentinels:
            each.kill()
            each.wait()
        super().stop()

    @staticmethod
    def _asked(port: int) -> Any:
        return closing(
            redis.Redis(
                host=LOOPBACK, port=port, password=SENTINEL_PASSWORD, decode_responses=True, socket_timeout=2
            )
        )

    @staticmethod
    def _sentinel(folder: Path, port: int, primary: LocalRedis, silence_ms: int) -> "subprocess.Popen[bytes]":
        make_directory(folder)
        write_secret(
            folder / "sentinel.conf",
            f"port {port}\nbind {LOOPBACK}\ndir .\nlogfile log\n"
            f"requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor {SERVICE} {LOOPBACK} {primary.port} 2\n"
            f"sentinel auth-pass {SERVICE} {primary.password}\n"
            f"sentinel down-after-milliseconds {SERVICE} {silence_ms}\n"
            f"sentinel failover-timeout {SERVICE} 5000\nsentinel parallel-syncs {SERVICE} 2\n",
        )
        program, _ = find_redis()
        return subprocess.Popen(
            [program, "sentinel.conf", "--sentinel"], cwd=folder, stdout=subprocess.DEVNULL
        )


class Cluster(Gathering):
    """Three primaries that share the slots, each with a replica."""

    def __init__(self, folder: Path, silence_ms: int) -> None:
        password = token_hex(8)
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(silence_ms),
            "databases": "1",
            "repl-diskless-sync-delay": "0",
        }
        nodes = [made_in(folder / f"node-{n}", password, port_of_a_cluster(), **options) for n in range(6)]
        super().__init__(nodes)
        self.password = password
        first, *others = nodes
        for place, node in enumerate(nodes):
            with asked(node) as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        with asked(first) as client:
            for node in others:
                client.execute_command("CLUSTER", "MEET", LOOPBACK, node.port)
        eventually(lambda: all(len(self._known(node)) == len(nodes) for node in nodes), within=30)
        for place, node in enumerate(nodes[:3]):
            with asked(node) as client:
                slots = range(SLOTS * place // 3, SLOTS * (place + 1) // 3)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
        for place, node in enumerate(nodes[3:]):
            with asked(node) as client:
                client.execute_command("CLUSTER", "REPLICATE", self.id_of(nodes[place]))
        eventually(self.is_complete, within=30)

    @property
    def way(self) -> str:
        """The URL that names three of the nodes."""
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in self.servers[:3])
        return f"redis+cluster://:{self.password}@{hosts}"

    def primary(self, slot: int = 0) -> LocalRedis:
        """Return the node that takes what is in a slot, as most nodes see it."""
        seen = [self._owner(node, slot) for node in self.servers if node.is_running]
        return self.at(max(seen, key=seen.count))

    def is_complete(self) -> bool:
        """Whether every node thinks that all is well, and knows of three replicas."""
        # One that follows another primary from now on loads once more.
        with suppress(redis.BusyLoadingError):
            return all(map(self._is_well, self.servers))
        return False

    def _is_well(self, node: LocalRedis) -> bool:
        with asked(node) as client:
            if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
        return sum("slave" in each["flags"] for each in self._known(node).values()) == 3

    def id_of(self, node: LocalRedis) -> str:
        """Return what the others call a node."""
        with asked(node) as client:
            return str(client.execute_command("CLUSTER", "MYID"))

    def move(self, slot: int, there: LocalRedis) -> None:
        """Move a slot with all its keys to another primary, as a person does by hand."""
        here = self.primary(slot)
        target, source = self.id_of(there), self.id_of(here)
        with asked(here) as old, asked(there) as new:
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source)
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target)
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                for key in keys:
                    old.execute_command(
                        "MIGRATE", LOOPBACK, there.port, "", 0, 20_000, "AUTH", self.password, "KEYS", key
                    )
            for client in (new, old):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target)
            for node in self.servers:
                if node.is_running and node not in (here, there):
                    with asked(node) as other, suppress(redis.ResponseError):
                        other.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target)

    def _owner(self, node: LocalRedis, slot: int) -> int:
        with asked(node) as client:
            client.response_callbacks.clear()
            shares: Any = client.execute_command("CLUSTER", "SLOTS")
        for first, last, (_, port, *_), *_ in shares:
            if first <= slot <= last:
                return int(port)
        return 0

    @staticmethod
    def _known(node: LocalRedis) -> dict[str, Any]:
        with asked(node) as client:
            known: dict[str, Any] = client.execute_command("CLUSTER NODES")
            return known


@contextmanager
def gathered(kind: type[Gathering], folder: Path, silence_ms: int = SILENCE_MS) -> Iterator[Gathering]:
    """Start servers of a kind, and stop them in the end."""
    made: Any = kind
    gathering: Gathering = made(folder, silence_ms)
    try:
        yield gathering
    finally:
        gathering.stop()
