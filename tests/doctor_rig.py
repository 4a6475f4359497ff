"""For the tests of the doctor: healthy texts to spoil, and short words for what a report says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

from farm.balancers import page_configuration
from farm.servers import PASSWORD, Farm, Pyftpdlib
from farm.waiting import PATIENCE, until_listening
from pasvport.config.world import World
from pasvport.doctor.consultation import consult
from pasvport.doctor.machine import Machine
from pasvport.doctor.printing import Report
from pasvport.doctor.questions import Credentials
from pasvport.doctor.rounds import Errand

FILE = "farm.cfg"
HEALTH = """\
    timeout client 1h
    timeout server 1h
    option clitcpka
    option srvtcpka
"""
PAGE = """\
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option clitcpka
frontend ftp_fe
    mode tcp
    bind 192.0.2.100:21 name ftp-control
    bind 192.0.2.100:20000-20010 name ftp-data
    default_backend ftp_servers
backend ftp_servers
    mode tcp
    balance leastconn
    stick-table type ip size 100k expire 1h
    stick on src
    server s1 192.0.2.10 check port 21
    server s2 192.0.2.11 check port 21
"""
"""The published page with the times it leaves out."""
ALWAYS = {"one-server-per-address", "blind-check"}
"""Notes that are true of the page wherever it is used."""
QUIET_MACHINE = Machine(descriptors=20000)


def spoilt(old: str, new: str, text: str = PAGE) -> str:
    """The text with one fault."""
    assert old in text
    return text.replace(old, new)


def line_of(text: str, part: str) -> int:
    """The number of the first line that begins with the part, else of the first that contains it."""
    lines = list(enumerate(text.splitlines(), 1))
    begins = [number for number, line in lines if line.strip().startswith(part)]
    return (begins or [number for number, line in lines if part in line])[0]


def read_text(text: str, machine: Machine | None = None, public: tuple[str, ...] = ()) -> Report:
    """The doctor's word on a text alone."""
    return consult([(FILE, text)], World(), None, machine, public)


def found(report: Report) -> set[tuple[str, int]]:
    """(id, line) of every finding that the page does not always have."""
    return {
        (finding.id, finding.origin.line if finding.origin else 0)
        for finding in report.findings
        if finding.id not in ALWAYS
    }


def ids(report: Report) -> set[str]:
    return {finding.id for finding in report.findings} - ALWAYS


def farm_text(farm: Farm, kind: str = "") -> str:
    """The page's configuration over a farm (or its servers of one kind), healthy."""
    return page_configuration(
        farm.balancer,
        [(server.name, server.host) for server in farm.servers if server.kind in (kind or server.kind)],
        control_port=farm.security.control_port,
        ports=farm.ports,
        log="127.0.0.1:9",
        extra_defaults=HEALTH,
    ).replace("    timeout client 30s\n    timeout server 30s\n", "")


def examine_farm(farm: Farm, text: str, *, user: str | None = None, timeout: float = 5.0) -> Report:
    """The doctor's word on a text and the servers behind it."""
    login = Credentials(user or farm.servers[0].user, PASSWORD)
    return consult([(FILE, text)], World(), Errand(timeout, login), QUIET_MACHINE)


class OddPyftpdlib(Pyftpdlib):
    """A pyftpdlib server with one of the oddities of tests/doctor/odd_pyftpd.py."""

    odd = ""

    def command(self) -> list[str]:
        interpreter, _, wish = super().command()
        script = Path(__file__).with_name("doctor") / "odd_pyftpd.py"
        return [interpreter, str(script), json.dumps({**json.loads(wish), "odd": self.odd})]

    def until_ready(self) -> None:
        assert self.child is not None
        until_listening(self.host, self.port, self.child.check_alive)


def make_odd(farm: Farm, number: int, odd: str) -> None:
    """Put an odd pyftpdlib in the place of a server that has not been started."""
    old = farm.servers[number]
    new = OddPyftpdlib(old.name, old.host, old.advertise, old.ports, old.security, old.folder, old.certificate)
    new.odd = odd
    farm.servers[number] = new


class ControlOnly:
    """Carries connections from one address and port to another, and nothing else: a firewall. A context manager."""

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._there = there
        self._listener = socket.create_server(here)
        self._listener.settimeout(PATIENCE)
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> ControlOnly:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._carry, args=(client,)))
                self._threads[-1].start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._there, PATIENCE) as server:
            client.settimeout(PATIENCE)
            back = threading.Thread(target=_pour, args=(server, client))
            back.start()
            _pour(client, server)
            back.join(PATIENCE)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
