"""Clients of stats sockets, and HAProxy and pasvport side by side on one configuration."""

from __future__ import annotations

import csv
import io
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from farm.balancers import BALANCERS, Balancer
from farm.ports import free_ports
from farm.waiting import until
from process_rig import DEADLINE

SEPARATOR = "-"


class Connection:
    """A connection to a stats socket."""

    def __init__(self, path, timeout=DEADLINE):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def send(self, text):
        self.socket.sendall(text.encode())

    def rest(self):
        """Everything until the balancer closes."""
        parts = []
        while data := self.socket.recv(65536):
            parts.append(data)
        return b"".join(parts).decode()

    def until(self, mark):
        """Everything up to and with `mark`."""
        found = b""
        while not found.endswith(mark.encode()):
            data = self.socket.recv(1)
            assert data, found
            found += data
        return found.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ask(path, *lines):
    """The answer to lines written at once; the client writes no more after them."""
    with Connection(path) as connection:
        connection.send("".join(f"{line}\n" for line in lines))
        connection.socket.shutdown(socket.SHUT_WR)
        return connection.rest()


def rows(text):
    """`show stat` by (pxname, svname)."""
    return {(row["# pxname"], row["svname"]): row for row in csv.DictReader(io.StringIO(text.strip()))}


def states(text):
    """`show servers state` by (be_name, srv_name)."""
    _, header, *lines = text.strip().splitlines()
    names = header.removeprefix("# ").split()
    found = (dict(zip(names, line.split(), strict=True)) for line in lines)
    return {(row["be_name"], row["srv_name"]): row for row in found}


class Echo:
    """A server on loopback that sends back what it gets."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def exchange(port, data=b"hello\n"):
    """One session: what comes back for `data`."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(65536):
            found += part
        return found


class Side:
    """One of the two: its balancer, its stats sockets, its ports by the name in the configuration."""

    def __init__(self, name, template, names, values):
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.name = name
        self.folder = None
        self._template = template
        self._values = values
        self.balancer: Balancer | None = None

    def start(self, folder: Path):
        self.admin, self.user = folder / f"{self.name}.admin", folder / f"{self.name}.user"
        text = self._template.format(admin=self.admin, user=self.user, **self.ports, **self._values)
        self.balancer = BALANCERS[self.name](text, ("127.0.0.1", next(iter(self.ports.values()))))
        return self.balancer

    def ask(self, *lines):
        return ask(self.admin, *lines)

    def answers(self):
        """Whether both stats sockets are open: ports are opened one after the other."""
        try:
            return ask(self.admin, "show cli level") and ask(self.user, "show cli level")
        except OSError:
            return False

    def rows(self):
        return rows(self.ask("show stat"))

    def states(self):
        return states(self.ask("show servers state"))


class Pair(ExitStack):
    """HAProxy and pasvport, each with ports of its own and the rest of the configuration in common.

    `template` has {admin}, {user} for stats sockets, one field for each of `ports` (the first is listened on), and
    what else is given by name.
    """

    def __init__(self, folder, template, ports, **values):
        super().__init__()
        self._folder = folder
        self.haproxy, self.pasvport = (Side(name, template, ports, values) for name in ("haproxy", "pasvport"))

    def __enter__(self):
        super().__enter__()
        with ExitStack() as undo:
            undo.push(self.__exit__)
            for side in self:
                self.enter_context(side.start(self._folder))
                until(side.answers, f"the stats sockets of {side.name}")
            undo.pop_all()
        return self

    def __iter__(self):
        return iter((self.haproxy, self.pasvport))
