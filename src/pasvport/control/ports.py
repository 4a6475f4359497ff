"""The listening sockets of a configuration, held by the supervisor for as long as it serves them.

For every address and port each worker has a socket of its own in one SO_REUSEPORT group, and a program in the kernel
chooses by source address (`steering`). UNIX sockets, inherited descriptors, and everything under `noreuseport`, are
one socket that all workers share.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pasvport import sockets, steering
from pasvport.address import Endpoint, Family
from pasvport.errors import ResourceError
from pasvport.model import Bind, Config, Proxy
from pasvport.wire import Listener

_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_UNSHARED = (Family.UNIX, Family.ABNS, Family.FD)


@dataclass(slots=True)
class Group:
    """The sockets of one port of one bind, in worker order; a single one is shared by all workers."""

    proxy: int
    bind: int
    port: int
    members: list[socket.socket]
    backlog: int = 0

    def member(self, worker: int) -> socket.socket:
        return self.members[worker % len(self.members)]


@dataclass(slots=True)
class Ports:
    """Every listening socket. `complaints` are HAProxy's words for what could not be bound; `remarks` for the rest."""

    groups: list[Group] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def bind(cls, config: Config, workers: int) -> Ports:
        """Bind everything; failures are collected, all of them, and nothing is raised."""
        ports = cls()
        for proxy, number, bind, port in addresses(config):
            try:
                members = ports._group(config, proxy, bind, port, workers)
            except ResourceError as error:
                place = f"Binding [{bind.origin}] for {capability(proxy)} {proxy.name}"
                ports.complaints.append(f"{place}: {error} for [{shown(bind.endpoint, port)}]")
            else:
                ports.groups.append(Group(proxy.index, number, port, members))
        return ports

    def _group(self, config: Config, proxy: Proxy, bind: Bind, port: int, workers: int) -> list[socket.socket]:
        reuse = bind.endpoint.family not in _UNSHARED and not config.settings.noreuseport
        members: list[socket.socket] = []
        try:
            members.extend(
                sockets.listen(bind, port, proxy, config.settings, reuse=reuse) for _ in range(workers if reuse else 1)
            )
        except ResourceError:
            _close(members)
            raise
        if len(members) > 1:
            self._steer(members)
        return members

    def _steer(self, members: list[socket.socket]) -> None:
        try:
            steering.steer(members)
        except ResourceError as error:
            if not self.remarks:
                self.remarks.append(f"{error}; a client's connections may reach different workers")

    def listeners(self, worker: int) -> tuple[Listener, ...]:
        """What a worker is told; the descriptors are those of this process, and inherited under the same numbers."""
        return tuple(
            Listener(group.proxy, group.bind, group.port, group.member(worker).fileno()) for group in self.groups
        )

    def close(self) -> None:
        """Stop listening: what no worker has open any more is refused from now on."""
        for group in self.groups:
            _close(group.members)
        self.groups.clear()

    def pause(self) -> None:
        """Refuse connections on TCP ports, and let another process bind them, until resume()."""
        for group in self.groups:
            for member in filter(_is_tcp, group.members):
                group.backlog = _backlog(member) or group.backlog
                # What HAProxy does: the socket keeps its address and its options but is in state LISTEN no more.
                with contextlib.suppress(OSError):
                    member.shutdown(socket.SHUT_RD)

    def resume(self) -> list[Group]:
        """Listen again, in worker order, since that is how steering counts. Returns what somebody else has taken."""
        lost = []
        for group in self.groups:
            try:
                for member in filter(_is_tcp, group.members):
                    member.listen(group.backlog)
            except OSError:
                lost.append(group)
                continue
            if len(group.members) > 1:
                self._steer(group.members)
        return lost

    def served_elsewhere(self) -> bool:
        """Whether a socket that is not ours listens on one of our TCP ports: a successor has taken over."""
        ours = {str(os.fstat(member.fileno()).st_ino) for group in self.groups for member in group.members}
        try:
            rows = list(_listening())
        except OSError:
            # No descriptor free to look with: the next look is soon.
            return False
        mine = {place for place, inode in rows if inode in ours}
        return any(inode not in ours and _overlaps(place, mine) for place, inode in rows)


def _is_tcp(member: socket.socket) -> bool:
    return member.family != socket.AF_UNIX


def _backlog(member: socket.socket) -> int:
    """The backlog of a listening TCP socket: `tcpi_sacked` of its TCP_INFO, the eighth word (tcp(7))."""
    return int(struct.unpack_from("=6I", member.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 8)[5])


def _close(members: list[socket.socket]) -> None:
    for member in members:
        member.close()


def _listening() -> Iterator[tuple[tuple[str, str], str]]:
    """((address, port), inode) of each listening TCP socket, as the kernel writes them."""
    for table in _TABLES:
        path = Path(table)
        rows = path.read_text().splitlines()[1:] if path.exists() else []
        for row in map(str.split, rows):
            if row[3] == _LISTEN:
                host, _, port = row[1].partition(":")
                yield (host, port), row[9]


def _overlaps(place: tuple[str, str], mine: set[tuple[str, str]]) -> bool:
    host, port = place
    if place in mine:
        return True
    return any(port == other and (_is_any(host) or _is_any(theirs)) for theirs, other in mine)


def _is_any(host: str) -> bool:
    return not host.strip("0")


def addresses(config: Config) -> Iterator[tuple[Proxy, int, Bind, int]]:
    """(proxy, number of the bind, bind, port) of all that shall be bound."""
    for proxy in config.proxies:
        if proxy.disabled or not proxy.is_frontend:
            continue
        for number, bind in enumerate(proxy.binds):
            for port in range(bind.ports.low, bind.ports.high + 1):
                yield proxy, number, bind, port


def capability(proxy: Proxy) -> str:
    """`frontend`, `backend`, or `proxy` for a section that is both."""
    if proxy.is_frontend and proxy.is_backend:
        return "proxy"
    return "frontend" if proxy.is_frontend else "backend"


def shown(endpoint: Endpoint, port: int) -> str:
    """An address as HAProxy shows it in a bind failure."""
    if endpoint.family in _UNSHARED:
        return str(endpoint)
    host = endpoint.host if endpoint.host not in ("", "*") else "0.0.0.0"
    return f"{host}:{port}"
