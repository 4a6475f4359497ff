"""What stands between a balancer and an FTP server and spoils some commands, as firewalls and gateways do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping

from farm.waiting import PATIENCE

SILENCE = ""
"""As an answer: none."""
HANG_UP = "hang up"
"""As an answer: the end of both connections."""


class Middlebox:
    """Listens at the server's own address, so that its data ports are where its control port seems to be.

    `answers` maps a verb to the reply that it gets here instead of reaching the server. Use as a context manager.
    """

    def __init__(self, host: str, port: int, answers: Mapping[str, str]) -> None:
        self._server = (host, port)
        self._answers = answers
        self.heard: list[str] = []
        self._stack = contextlib.ExitStack()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Middlebox:
        self._listener = self._stack.enter_context(socket.create_server((self._server[0], 0)))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._open):
            _shut(connection)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._stack.close()

    @property
    def address(self) -> str:
        """As a `server` line names it."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def _start(self, what: object, *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server, PATIENCE)
                server.settimeout(None)
                self._open += [client, server]
                self._start(self._commands, client, server)
                self._start(self._replies, client, server)

    def _commands(self, client: socket.socket, server: socket.socket) -> None:
        with client, contextlib.suppress(OSError), client.makefile("rb") as lines:
            for line in lines:
                verb = line.split()[0].decode("latin-1").upper() if line.split() else ""
                self.heard.append(verb)
                answer = self._answers.get(verb)
                if answer is None:
                    server.sendall(line)
                elif answer == HANG_UP:
                    break
                elif answer != SILENCE:
                    client.sendall(answer.encode() + b"\r\n")
            _shut(server)
            _shut(client)

    def _replies(self, client: socket.socket, server: socket.socket) -> None:
        with server, contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _shut(client)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
