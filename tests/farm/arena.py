"""One balancer with many small `listen` sections, each between a test's own client sockets and its own servers.

For scenarios that need both ends in hand: who closes first, who resets, who never answers.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from farm.addresses import Subnet
from farm.balancers import BALANCERS, Balancer
from farm.sink import Line, LogSink
from farm.waiting import PATIENCE, until_accepted

CLIENT = "127.0.0.1"


@dataclass(frozen=True)
class Expect:
    """A tcplog line without times. `size` may be "*": what the kernel's buffers held is nobody's decision."""

    state: str
    server: str = "s1"
    waited: bool = True
    connected: bool = True
    size: str = "0"
    counters: str = "1/1/0/0/0"
    queues: str = "0/0"
    early: bool = False

    def line(self, section: str) -> Line:
        return Line(
            client=CLIENT,
            frontend=section,
            backend=section,
            server=self.server,
            waited=self.waited,
            connected=self.connected,
            size=self.size,
            state=self.state,
            counters=self.counters,
            queues=self.queues,
            early=self.early,
        )


@dataclass(frozen=True)
class Scenario:
    """`settings` are the lines of a `listen` section; {0}, {1} ... stand for the addresses of its servers, {0.port}
    for a port alone.

    `servers` says what stands there: "open" listens, "closed" refuses, "full" has a full backlog and answers nothing.
    """

    name: str
    play: Callable[[Stage], None]
    expect: tuple[Expect, ...]
    settings: str = "server s1 {0}"
    servers: tuple[str, ...] = ("open",)


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until FIN."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def until_closed(connection: socket.socket) -> bytes:
    """Everything until FIN or RST."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


class Place(NamedTuple):
    """Where a server of a section is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Site:
    """The server side of one section: sockets that listen, refuse or stay silent."""

    def __init__(self, kinds: tuple[str, ...], stack: contextlib.ExitStack) -> None:
        self.listeners = [self._plant(kind, stack) for kind in kinds]

    def _plant(self, kind: str, stack: contextlib.ExitStack) -> socket.socket:
        listener = stack.enter_context(socket.socket())
        listener.settimeout(PATIENCE)
        listener.bind(("127.0.0.1", 0))
        if kind == "open":
            listener.listen(64)
        elif kind == "full":
            listener.listen(0)
            self._fill(listener, stack)
        return listener

    def _fill(self, listener: socket.socket, stack: contextlib.ExitStack) -> None:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())

    def addresses(self) -> list[Place]:
        return [Place(*listener.getsockname()) for listener in self.listeners]


class Stage:
    """What a scenario plays on: its section's frontend and servers. Sockets it hands out are closed at the end."""

    def __init__(self, frontend: tuple[str, int], site: Site, sink: LogSink, section: str) -> None:
        self.frontend = frontend
        self.site = site
        self.sink = sink
        self.section = section
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, receive_buffer: int = 0) -> socket.socket:
        """A connected client that the balancer has accepted."""
        client = self._stack.enter_context(socket.socket())
        client.settimeout(PATIENCE)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.bind((CLIENT, 0))
        client.connect(self.frontend)
        until_accepted(client)
        return client

    def accept(self, number: int = 0) -> socket.socket:
        """The balancer's next connection to server `number`."""
        connection, _ = self.site.listeners[number].accept()
        connection.settimeout(PATIENCE)
        return self._stack.enter_context(connection)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the server connection made for it."""
        client = self.client()
        return client, self.accept()

    def talk(self) -> tuple[socket.socket, socket.socket]:
        """A pair that has exchanged a word both ways: 5 bytes to the client."""
        client, server = self.pair()
        client.sendall(b"USER\n")
        assert server.recv(5) == b"USER\n"
        server.sendall(b"220 \n")
        assert client.recv(5) == b"220 \n"
        return client, server

    def until_lines(self, count: int) -> list[Line]:
        return self.sink.until_lines(self.section, count)


class Arena:
    """The balancer, running with one `listen` section per scenario."""

    def __init__(self, balancer: str, scenarios: tuple[Scenario, ...]) -> None:
        self.scenarios = scenarios
        self._balancer = balancer
        self._stack = contextlib.ExitStack()
        self._host = Subnet().host(1)
        self.balancer: Balancer | None = None

    def __enter__(self) -> Arena:
        with contextlib.ExitStack() as stack:
            self.sites = {each.name: Site(each.servers, stack) for each in self.scenarios}
            self.sink = stack.enter_context(LogSink())
            ready = (self._host, 20000)
            self.balancer = stack.enter_context(BALANCERS[self._balancer](self.text(), ready))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def text(self) -> str:
        head = f"""\
global
    log {self.sink.address} local0
    nbthread 1

defaults
    mode tcp
    log global
    option tcplog
    timeout connect 2s
    timeout client 5s
    timeout server 5s
"""
        return head + "".join(self._section(number, each) for number, each in enumerate(self.scenarios))

    def _section(self, number: int, scenario: Scenario) -> str:
        settings = scenario.settings.format(*self.sites[scenario.name].addresses())
        lines = "".join(f"    {line.strip()}\n" for line in settings.strip().splitlines())
        return f"\nlisten {scenario.name}\n    bind {self._host}:{20000 + number}\n{lines}"

    def stage(self, scenario: Scenario) -> Stage:
        number = self.scenarios.index(scenario)
        return Stage((self._host, 20000 + number), self.sites[scenario.name], self.sink, scenario.name)
