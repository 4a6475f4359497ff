"""Several `listen` sections of one balancer in `mode ftp`, each at an address of its own, and a hand on its statistics.

For scenarios about the configuration: the page's own text is `page.Page`.
"""

from __future__ import annotations

import contextlib
import csv
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from farm.addresses import CONTROL_PORT, Subnet
from farm.balancers import BALANCERS, Balancer
from farm.raw_client import RawClient
from farm.sink import LogSink
from farm.waiting import PATIENCE, listening, until

Address = tuple[str, int]


@dataclass(frozen=True)
class Section:
    """One `listen` section. `binds` are its binds, `{host}` stands for its address and `{port}` for the control port;
    `lines` is the rest of it."""

    name: str
    lines: str
    binds: str = "bind {host}:{port}\nbind {host}:50000-50099"
    mode: str = "ftp"


class Front:
    """The balancer, running. Use as a context manager."""

    def __init__(
        self,
        *sections: Section,
        kind: str = "pasvport",
        settings: str = "",
        defaults: str = "",
        extra: str = "",
        threads: int = 2,
    ) -> None:
        """`settings` are lines of the global section, `extra` whole sections."""
        self._kind = kind
        self._subnet = Subnet()
        self._sections = sections
        self._settings, self._defaults, self._extra, self._threads = settings, defaults, extra, threads
        self._hosts = {each.name: self._subnet.host(1 + number) for number, each in enumerate(sections)}
        self._stack = contextlib.ExitStack()
        self.sink: LogSink
        self.balancer: Balancer

    def __enter__(self) -> Front:
        with contextlib.ExitStack() as stack:
            self._folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="front-"))
            self.sink = stack.enter_context(LogSink())
            self.balancer = BALANCERS[self._kind](self.text(), self.address(self._sections[0].name))
            stack.enter_context(self.balancer)
            until(Path(self._folder, "api").exists, "the stats socket")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def text(self) -> str:
        """The configuration."""
        head = f"""\
global
    log {self.sink.address} len 4096 local0
    nbthread {self._threads}
    stats socket {self._folder}/api level admin
{_indented(self._settings)}
defaults
    log global
    option {"tcplog" if self._kind == "haproxy" else "ftplog"}
    timeout connect 5s
    timeout client 20s
    timeout server 20s
{_indented(self._defaults)}
"""
        return head + "\n".join(map(self._section, self._sections)) + self._extra

    def _section(self, section: Section) -> str:
        binds = section.binds.format(host=self._hosts[section.name], port=CONTROL_PORT)
        return f"listen {section.name}\n    mode {section.mode}\n{_indented(binds)}\n{_indented(section.lines)}\n"

    # --- clients --------------------------------------------------------------------------------------------------

    def host(self, name: str) -> str:
        return self._hosts[name]

    def address(self, name: str) -> Address:
        """Where that section's control port is."""
        return self._hosts[name], CONTROL_PORT

    def client(self, name: str, source: str = "", **named: object) -> RawClient:
        """A client of that section, greeted but not logged in. Use as a context manager."""
        return RawClient(self.address(name), source, **named)  # type: ignore[arg-type]

    # --- what the balancer says -----------------------------------------------------------------------------------

    def api(self, line: str) -> str:
        """The answer to one line on the stats socket."""
        data = bytearray()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"{self._folder}/api")
            sock.sendall(line.encode() + b"\n")
            while piece := sock.recv(65536):
                data += piece
        return data.decode()

    def stat(self, section: str, column: str, who: str = "FRONTEND") -> int:
        """A number of `show stat`; 0 where the column is empty."""
        rows = csv.DictReader(self.api("show stat").removeprefix("# ").splitlines())
        return next(int(row[column] or 0) for row in rows if (row["pxname"], row["svname"]) == (section, who))

    def until_stat(self, section: str, column: str, fact: Callable[[int], bool], who: str = "FRONTEND") -> int:
        """Wait until that number is as it should be."""
        seen: list[int] = []

        def holds() -> bool:
            seen.append(self.stat(section, column, who))
            return fact(seen[-1])

        try:
            until(holds, column)
        except AssertionError:
            raise AssertionError(f"{column} of {section}/{who} stays {seen[-1]}") from None
        return seen[-1]

    def open_ports(self, name: str) -> set[int]:
        """Ports at that section's address on which somebody listens, without the control port."""
        return {port for host, port in listening() if host == self._hosts[name]} - {CONTROL_PORT}


def _indented(lines: str) -> str:
    return "\n".join(f"    {line.strip()}" for line in lines.splitlines())
