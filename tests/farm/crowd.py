"""Name-telling servers behind a balancer, and many client addresses in front of it."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from farm import journal
from farm.addresses import Subnet
from farm.balancers import BALANCERS, Balancer, page_configuration
from farm.processes import Child
from farm.sink import LogSink
from farm.waiting import PATIENCE, until

CONTROL = 2121
PORTS = (50000, 50010)


class Crowd:
    """The page's configuration over `count` name-telling servers. Use as a context manager."""

    def __init__(self, balancer: str, count: int, workers: int, extra_defaults: str = "") -> None:
        self._kind = BALANCERS[balancer]
        self._workers = workers
        self._extra = extra_defaults
        self.subnet = Subnet()
        self.host = self.subnet.host(1)
        self.servers = [(f"who{number}", self.subnet.host(11 + number)) for number in range(count)]
        self.folder = Path(tempfile.mkdtemp(prefix="crowd-"))
        self.sink = LogSink()
        self.child: Child | None = None
        self.balancer: Balancer | None = None

    def __enter__(self) -> Crowd:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        ports = [CONTROL, *range(PORTS[0], PORTS[1] + 1)]
        wish = json.dumps([[name, host, ports] for name, host in self.servers])
        self.child = Child([sys.executable, str(Path(__file__).with_name("who.py")), wish], self.folder / "log")
        journal.watch("who", self.child.log)
        until(lambda: "ready" in self._output(), "the name-telling servers")
        text = page_configuration(
            self.host,
            self.servers,
            control_port=CONTROL,
            ports=PORTS,
            log=self.sink.address,
            extra_global=f"    nbthread {self._workers}\n    maxconn 8000",
            extra_defaults="    maxconn 8000\n" + self._extra,
        )
        balancer = self._kind(text, (self.host, CONTROL))
        balancer.__enter__()
        self.balancer = balancer

    def _output(self) -> str:
        assert self.child is not None
        self.child.check_alive()
        return self.child.output()

    def __exit__(self, *_: object) -> None:
        survivors = self.stop()
        assert not survivors, f"children left behind: {survivors}"

    def stop(self) -> list[str]:
        survivors = self.balancer.stop() if self.balancer is not None else []
        self.balancer = None
        if self.child is not None:
            self.child.stop()
            self.child = None
        journal.forget("who")
        self.sink.close()
        shutil.rmtree(self.folder)
        return survivors

    def connect(self, source: str, port: int = CONTROL) -> tuple[socket.socket, str]:
        """A connection from `source`, and the name of the server that answered it."""
        client = socket.socket()
        try:
            client.settimeout(PATIENCE)
            client.bind((source, 0))
            client.connect((self.host, port))
            return client, client.recv(64).decode().strip()
        except BaseException:
            client.close()
            raise
