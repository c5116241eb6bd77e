"""Many clients at once: each sends its bytes, and is listened to until it is closed or nothing more comes."""

import re
import selectors
import socket
import time
from collections.abc import Sequence

QUIET_S = 0.5
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


class Client:
    """One connection; what it has still to send, and what it has heard."""

    def __init__(self, port: int, raw: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setblocking(False)
        self.left = raw
        self.heard = b""

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        return [int(found) for found in STATUS.findall(self.heard)]

    def go_on(self, events: int) -> bool:
        """Send and hear what can be; False once the server has closed."""
        try:
            if events & selectors.EVENT_WRITE:
                self.left = self.left[self.socket.send(self.left) :]
            if events & selectors.EVENT_READ:
                said = self.socket.recv(65_536)
                self.heard += said
                return bool(said)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def exchange(port: int, raws: Sequence[bytes]) -> list[Client]:
    """Send all of these at once, each over a connection of its own, and return what came back."""
    clients = [Client(port, raw) for raw in raws]
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        last = time.monotonic()
        while selector.get_map() and time.monotonic() - last < QUIET_S:
            for key, events in selector.select(timeout=0.1):
                client = key.data
                goes_on = client.go_on(events)
                if events & selectors.EVENT_READ or client.left:
                    last = time.monotonic()
                if not goes_on:
                    selector.unregister(client.socket)
                elif not client.left:
                    selector.modify(client.socket, selectors.EVENT_READ, client)
    for client in clients:
        client.socket.close()
    return clients
