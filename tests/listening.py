"""A server in the place of Redis, which says what a test has it say."""

import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from threading import Thread

from tests.faults.framing import Resp


class Listening(ABC):
    """Takes connections, and replies to one command after the other."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._accept)
        self._thread.start()

    @abstractmethod
    def reply(self, request: bytes) -> bytes | None:
        """Return what is said to a command; None ends its connection."""

    def stop(self) -> None:
        """Take no more connections, and wait until those that there are have ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with ExitStack() as serving:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                self.connections += 1
                self.open += 1
                thread = Thread(target=self._serve, args=(connection,))
                thread.start()
                serving.callback(thread.join)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._answer(connection)
        self.open -= 1

    def _answer(self, connection: socket.socket) -> None:
        requests = Resp()
        while received := connection.recv(4096):
            for request in requests.requests(received):
                said = self.reply(request)
                if said is None:
                    return
                connection.sendall(said)
