"""The place of the demonstration: FTP servers, the page's configuration moved to loopback, pasvport itself."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from pasvport.demo.child import Child
from pasvport.demo.ftp_server import FtpServer, Wish
from pasvport.demo.journal import Journal
from pasvport.demo.visits import Door
from pasvport.errors import ResourceError

DATA_PORTS = (50000, 50010)
_USER = "demo"


def configuration(frontend: str, port: int, servers: list[tuple[str, str]], log: str) -> str:
    """HAProxy's passive-FTP page with other addresses; new are `global`, `defaults` and the quicker check."""
    lines = "\n".join(f"    server {name} {host} check port {port} inter 500ms" for name, host in servers)
    low, high = DATA_PORTS
    return f"""\
global
    log {log} local0

defaults
    log global
    timeout connect 5s
    timeout client 1m
    timeout server 1m

frontend ftp_fe
    mode tcp
    option tcplog
    log global
    bind {frontend}:{port} name ftp-control
    bind {frontend}:{low}-{high} name ftp-data
    default_backend ftp_servers

backend ftp_servers
    mode tcp
    balance leastconn
    stick-table type ip size 100k expire 1h
    stick on src
{lines}
"""


def free_subnet(port: int) -> str:
    """The first 127.N that nobody listens in: two demonstrations may run side by side. Raises ResourceError."""
    for number in range(16, 48):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((f"127.{number}.0.100", port))
            except OSError:
                continue
            return f"127.{number}"
    raise ResourceError(f"no loopback address is free on port {port}")


class Site:
    """Use as a context manager: what it started is stopped, what it wrote is removed, however the block ends."""

    def __init__(self, count: int) -> None:
        # Low ports need root; the page's port 21 becomes 2121 for everybody else.
        self.port = 21 if os.geteuid() == 0 else 2121
        self.subnet = free_subnet(self.port)
        self.door = Door(f"{self.subnet}.0.100", self.port, _USER, secrets.token_hex(4))
        self._names = [(f"ftp-server{number}", f"{self.subnet}.1.{9 + number}") for number in range(1, count + 1)]
        self._stack = ExitStack()
        self.text = ""
        self.journal: Journal
        self.servers: list[FtpServer] = []

    def __enter__(self) -> Site:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pasvport-demo-")))
            self.journal = Journal()
            stack.callback(self.journal.close)
            self.text = configuration(self.door.host, self.port, self._names, self.journal.address)
            for name, host in self._names:
                self._add_server(stack, folder, name, host)
            self._start_balancer(stack, folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add_server(self, stack: ExitStack, folder: Path, name: str, host: str) -> None:
        home = str(folder / name)
        wish = Wish(name, host, self.port, self.door.host, *DATA_PORTS, home, _USER, self.door.password)
        server = FtpServer(wish, folder / f"{name}.log")
        stack.callback(server.stop)
        server.start()
        self.servers.append(server)

    def _start_balancer(self, stack: ExitStack, folder: Path) -> None:
        settings = folder / "pasvport.cfg"
        settings.write_text(self.text)
        words = [sys.executable, "-m", "pasvport", "-db", "-f", str(settings)]
        balancer = Child("pasvport", words, folder / "pasvport.log")
        stack.callback(balancer.stop)
        balancer.until_ready()
