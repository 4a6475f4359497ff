"""Configurations, peers and listeners for the tests of checks and server states."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pasvport import model
from pasvport.address import Endpoint, Family
from pasvport.control.roster import Roster
from pasvport.wire import ServerChanged

ORIGIN = model.Origin("test.cfg", 1)
CHECKED = model.Check(enabled=True)


def server(name: str, at: int = 21, /, **more: object) -> model.Server:
    defaults: dict[str, object] = {
        "endpoint": Endpoint(Family.IPV4, "127.0.0.1", at),
        "port": model.ServerPort(model.PortMap.FIXED, at),
        "id": 1,
    }
    return model.Server(ORIGIN, name, **{**defaults, **more})  # type: ignore[arg-type]


def backend(name: str, *servers: model.Server, index: int = 0, **more: object) -> model.Proxy:
    numbered = tuple(servers)
    given: dict[str, object] = {"is_frontend": False, "is_backend": True, **more}
    return model.Proxy(ORIGIN, name, index, index + 1, servers=numbered, **given)  # type: ignore[arg-type]


def config(*proxies: model.Proxy, **settings: object) -> model.Config:
    return model.Config(settings=model.Global(**settings), proxies=proxies)  # type: ignore[arg-type]


def step(kind: str, data: str | bytes = b"", **more: object) -> model.CheckStep:
    """`step("send", "x")`, `step("string", "220")`, `step("rstring", "^2")`, `step("connect", port=21)`, ..."""
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if kind in ("connect", "send", "comment"):
        return model.CheckStep(ORIGIN, model.StepKind(kind), data=raw, **more)  # type: ignore[arg-type]
    return model.CheckStep(
        ORIGIN,
        model.StepKind.EXPECT,
        data=raw,
        match=model.ExpectMatch(kind),
        **more,  # type: ignore[arg-type]
    )


class Witness:
    """A roster with a clock one can turn, and everything it said and changed."""

    def __init__(self, conf: model.Config, counts: Callable[[int, int], tuple[int, int, int]] | None = None) -> None:
        self.clock = 1000.0
        self.said: list[tuple[int, str]] = []
        self.changes: list[ServerChanged] = []
        self.roster = Roster(
            conf,
            now=lambda: self.clock,
            on_change=self.changes.append,
            say=lambda _, level, text: self.said.append((level, text)),
            counts=counts or (lambda _, __: (0, 0, 0)),
        )

    def texts(self) -> list[str]:
        """What was said since the last call."""
        texts = [text for _, text in self.said]
        self.said.clear()
        return texts


Behaviour = Callable[[socket.socket, threading.Event], None]


class Peer:
    """A TCP server that treats every connection alike, in a thread each."""

    def __init__(self, behaviour: Behaviour, host: str = "127.0.0.1") -> None:
        self._behaviour = behaviour
        self._over = threading.Event()
        self._live: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            self._live.add(connection)
            connection.settimeout(20)
            with suppress(OSError):
                self._behaviour(connection, self._over)
            self._live.discard(connection)

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(20)
        for connection in list(self._live):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)


@contextmanager
def peer(behaviour: Behaviour, host: str = "127.0.0.1") -> Iterator[Peer]:
    served = Peer(behaviour, host)
    try:
        yield served
    finally:
        served.close()


def says(*parts: bytes, close: bool = False, reset: bool = False) -> Behaviour:
    """Sends the parts a little apart, then holds the connection (or closes, or resets it)."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        for number, part in enumerate(parts):
            if number:
                over.wait(0.03)
            connection.sendall(part)
        if reset:
            over.wait(0.03)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while not close and not reset and connection.recv(4096):
            pass

    return behave


def ftp_greeter(connection: socket.socket, over: threading.Event) -> None:
    """Greets, answers QUIT with 221 and anything else with 500."""
    connection.sendall(b"220 ready\r\n")
    while command := connection.recv(1000):
        if command.startswith(b"QUIT"):
            connection.sendall(b"221 bye\r\n")
            return
        connection.sendall(b"500 what?\r\n")
