"""HAProxy's passive-FTP page, running: real servers, the page's configuration, a balancer."""

from __future__ import annotations

import contextlib
import ftplib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from farm.addresses import source_addresses
from farm.balancers import BALANCERS, Balancer, page_configuration
from farm.clients import Target, open_session
from farm.servers import KINDS, Farm, Passive, Security, Server
from farm.sink import LogSink


def kinds_for(security: Security) -> tuple[str, ...]:
    """The servers that speak it, and that may run as this user."""
    able = (kind for kind, server in KINDS.items() if security in server.speaks)
    return tuple(kind for kind in able if os.geteuid() == 0 or not KINDS[kind].needs_root)


class Page:
    """A farm behind a balancer. Use as a context manager.

    `mode` "ftp" is the one word that may be changed; `passive` then need not be AGREED.
    """

    def __init__(
        self,
        balancer: str,
        names: tuple[str, ...],
        security: Security = Security.PLAIN,
        *,
        ports: tuple[int, int] = (50000, 50049),
        server_options: str = "check",
        extra_global: str = "",
        extra_defaults: str = "",
        mode: str = "tcp",
        passive: Passive = Passive.AGREED,
    ) -> None:
        self.kind = balancer
        self.security = security
        self.mode = mode
        self.farm = Farm(names, security, ports, passive)
        self._options = server_options
        self._global = extra_global
        self._defaults = extra_defaults
        self._stack = contextlib.ExitStack()
        self._sources = itertools.cycle(source_addresses(5000))
        self._sources_of: dict[str, str] = {}
        self.sink: LogSink
        self.balancer: Balancer

    def __enter__(self) -> Page:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.farm)
            self.sink = stack.enter_context(LogSink())
            self.balancer = BALANCERS[self.kind](self.text(), (self.farm.balancer, self.security.control_port))
            stack.enter_context(self.balancer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def text(self) -> str:
        return page_configuration(
            self.farm.balancer,
            [(server.name, server.host) for server in self.farm.servers],
            control_port=self.security.control_port,
            ports=self.farm.ports,
            log=self.sink.address,
            server_options=self._options,
            extra_global=self._global,
            extra_defaults=self._defaults,
            mode=self.mode,
        )

    def new_source(self) -> str:
        """A client address that this page has not seen."""
        return next(self._sources)

    def target(self, source: str, user: str = "nobody", *, extended: bool = True) -> Target:
        return Target(self.farm.balancer, self.security.control_port, user, self.security, source, extended)

    def greeter(self, source: str) -> Server:
        """The server whose banner that client address is shown."""
        with contextlib.closing(open_session(self.target(source))) as session:
            banner = session.getwelcome()
        return next(server for server in self.farm.servers if server.greeting in banner)

    def source_of(self, name: str) -> str:
        """A client address that the balancer keeps on the server `name`."""
        if name not in self._sources_of:
            for _ in range(40 * len(self.farm.servers)):
                source = self.new_source()
                if self.greeter(source).name == name:
                    self._sources_of[name] = source
                    break
            else:
                raise AssertionError(f"no client address ever reached {name}")
        return self._sources_of[name]

    def target_of(self, name: str, *, extended: bool = True) -> Target:
        """How a client reaches that very server through the balancer."""
        return self.target(self.source_of(name), self.farm[name].user, extended=extended)

    def put(self, name: str, content: bytes) -> None:
        self.farm.put(name, content)


@contextlib.contextmanager
def logged_in(page: Page, source: str, *, extended: bool = True) -> Iterator[tuple[Server, ftplib.FTP]]:
    """An ftplib session from `source`, and the server it turned out to be on."""
    session = open_session(page.target(source, extended=extended))
    try:
        server = next(each for each in page.farm.servers if each.greeting in session.getwelcome())
        session.log_in(server.user)
        yield server, session
    finally:
        session.close()


def same_bytes(one: Path, other: Path) -> bool:
    """Compare without holding 300 MB twice."""
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            part = left.read(1 << 20)
            if part != right.read(1 << 20):
                return False
            if not part:
                return True
