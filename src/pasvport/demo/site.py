"""The place of an act: FTP servers, the page's configuration moved to loopback, pasvport itself."""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from pasvport.demo.child import Child
from pasvport.demo.ftp_server import FILM, FILM_SIZE, FtpServer, Wish
from pasvport.demo.journal import Journal
from pasvport.demo.pages import (
    DATA_PORTS,
    Windows,
    configuration,
    one_word_changed,
    with_windows,
    without_stickiness,
)
from pasvport.demo.visits import Door
from pasvport.errors import ResourceError

USERS = ("alice", "bob", "carol", "dave", "erin", "frank")
WRONG_ADDRESS = "10.9.9.9"
_SOCKET = "admin.sock"
_LONGEST_NAME = 90
"""Bytes, less what the balancer puts behind the name while it takes the place of an older socket."""
_SUBNETS = range(16, 48)


def free_subnet(port: int) -> int:
    """N of the first 127.N that nobody listens in: two demonstrations may run side by side. Raises ResourceError."""
    for number in _SUBNETS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((f"127.{number}.0.100", port))
            except OSError:
                continue
            return number
    raise ResourceError(f"no loopback address is free on port {port}")


def has_ipv6() -> bool:
    """Whether there is an IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _socket_path(stack: ExitStack, folder: Path) -> str:
    """In the folder, unless that makes a name that UNIX sockets cannot have (unix(7): 107 bytes)."""
    path = folder / _SOCKET
    if len(os.fsencode(path)) > _LONGEST_NAME:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pasvport-demo-", dir="/tmp"))) / _SOCKET
    return str(path)


class Site:
    """Use as a context manager: what it started is stopped, what it wrote is removed, however the block ends."""

    title = "the page, unchanged"

    def __init__(self, count: int) -> None:
        # Low ports need root; the page's port 21 becomes 2121 for everybody else.
        self.port = 21 if os.geteuid() == 0 else 2121
        self.number = free_subnet(self.port)
        subnet = f"127.{self.number}"
        self.door = Door(f"{subnet}.0.100", self.port, USERS[0], secrets.token_hex(4))
        self.names = [(f"ftp-server{number}", f"{subnet}.1.{9 + number}") for number in range(1, count + 1)]
        self._stack = ExitStack()
        self.text = ""
        self.journal: Journal
        self.servers: list[FtpServer] = []
        self._balancer: Child
        self._settings: Path

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pasvport-demo-")))
            self.journal = Journal()
            stack.callback(self.journal.close)
            self.text = self._text(stack, folder)
            for name, host in self.names:
                self._add_server(stack, folder, name, host)
            self._furnish(folder)
            self._start_balancer(stack, folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _text(self, _stack: ExitStack, _folder: Path) -> str:
        return configuration(self.door.host, self.port, self.names, self.journal.address)

    def _wish(self, name: str, host: str, home: str) -> Wish:
        """The page's servers tell clients the balancer's address, and share its range of ports."""
        return Wish(name, host, self.port, self.door.host, *DATA_PORTS, home, USERS, self.door.password)

    def _furnish(self, folder: Path) -> None:
        """Put into the servers' homes what the act needs."""

    def _add_server(self, stack: ExitStack, folder: Path, name: str, host: str) -> None:
        server = FtpServer(self._wish(name, host, str(folder / name)), folder / f"{name}.log")
        stack.callback(server.stop)
        server.start()
        self.servers.append(server)

    def _start_balancer(self, stack: ExitStack, folder: Path) -> None:
        self._settings = folder / "pasvport.cfg"
        self._settings.write_text(self.text)
        words = [sys.executable, "-m", "pasvport", "-db", "-f", str(self._settings)]
        self._balancer = Child("pasvport", words, folder / "pasvport.log")
        stack.callback(self._balancer.stop)
        self._balancer.until_ready()

    def reload(self, text: str) -> None:
        """Another configuration takes over. Returns when it serves. Raises ChildError when it does not."""
        self.text = text
        self._settings.write_text(text)
        self._balancer.signal(signal.SIGUSR2)
        self._balancer.until_ready()


class FtpSite(Site):
    """`mode ftp` in front of servers as installed: each names a wrong address and takes any passive port."""

    windows: Windows
    film: bytes

    def _text(self, stack: ExitStack, folder: Path) -> str:
        # Away from 50000-50010, and different for each subnet: ::1 is one address for everybody.
        ipv6 = 51000 + 20 * self.number if has_ipv6() else 0
        self.windows = Windows(_socket_path(stack, folder), f"{self.door.host}:8404", ipv6)
        self.page = super()._text(stack, folder)
        return with_windows(one_word_changed(self.page), self.windows, self.names, self.port)

    def without_stickiness(self) -> str:
        return without_stickiness(self.text)

    def _wish(self, name: str, host: str, home: str) -> Wish:
        return replace(super()._wish(name, host, home), advertise=WRONG_ADDRESS, low=0, high=0)

    def _furnish(self, folder: Path) -> None:
        self.film = random.Random(1895).randbytes(FILM_SIZE)
        (folder / FILM).write_bytes(self.film)
        for server in self.servers:
            os.link(folder / FILM, server.home / FILM)
