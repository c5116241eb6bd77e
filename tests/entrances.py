"""One Redis that is entered otherwise than by a port in the clear: by a socket of the machine, or by TLS."""

from pathlib import Path
from secrets import token_hex

from local import LocalRedis
from local.directory import free_port, make_directory
from local.errors import LocalServerFailed
from tests.encryption import Authority
from tests.gathering import LOOPBACK, Gathering, made_in


class _Alone(Gathering):
    """A server that nobody else knows of."""

    def primary(self) -> LocalRedis:
        """Return the one there is."""
        return self.servers[0]

    def is_complete(self) -> bool:
        """Whether it runs."""
        return self.servers[0].is_running


class Socket(_Alone):
    """A server that workers reach by a socket in the file system."""

    def __init__(self, folder: Path, _silence_ms: int) -> None:
        self.password = token_hex(8)
        self._path = folder / "redis.sock"
        super().__init__([made_in(folder / "redis", self.password, free_port(), unixsocket=str(self._path))])

    @property
    def way(self) -> str:
        """The URL that names the socket."""
        return f"unix://:{self.password}@{self._path}?db=0"


class Encrypted(_Alone):
    """A server that workers reach by TLS; they trust the authority that has signed its certificate alone."""

    def __init__(self, folder: Path, _silence_ms: int) -> None:
        self.password = token_hex(8)
        self._port = free_port()
        make_directory(folder)
        self._authority = Authority.new(folder, "authority")
        try:
            made = made_in(
                folder / "redis", self.password, free_port(), **with_tls(self._authority, self._port)
            )
        except LocalServerFailed as failed:
            raise ValueError(f"WAY=tls: this build of Redis speaks no TLS: {failed}") from None
        super().__init__([made])

    @property
    def way(self) -> str:
        """The URL that names the port and the authority."""
        return f"rediss://:{self.password}@{LOOPBACK}:{self._port}/0?ssl_ca_certs={self._authority.file}"


def with_tls(authority: Authority, port: int) -> dict[str, str]:
    """Return the settings of a server that speaks TLS at a port, with a certificate of an authority."""
    certificate, key = authority.files(LOOPBACK)
    return {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(authority.file),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
