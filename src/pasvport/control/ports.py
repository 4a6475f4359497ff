"""The listening sockets of a configuration, held by the supervisor for as long as it serves them.

For every address and port each worker has a socket of its own in one SO_REUSEPORT group, and a program in the kernel
chooses by source address (`steering`). UNIX sockets, inherited descriptors, and everything under `noreuseport`, are
one socket that all workers share.

A range of many ports is one group on its lowest port, and a program that brings it the connections to all the others
(`sk_lookup`, `tune.port-range`).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pasvport import sockets, steering
from pasvport.address import Endpoint, Family
from pasvport.errors import ResourceError
from pasvport.model import AuthTls, Bind, Config, Mode, Proxy
from pasvport.sk_lookup import PortRanges, Steered
from pasvport.wire import Listener

SK_LOOKUP = "sk_lookup"
WORTH_A_PROGRAM = 64
"""Ports from which on `auto` prefers the program; fewer are bound, as every tool that lists listeners shows."""
_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_UNSHARED = (Family.UNIX, Family.ABNS, Family.FD)


@dataclass(slots=True)
class Group:
    """The sockets of one port of one bind, in worker order; a single one is shared by all workers.

    `port` is 0 for a whole range behind its lowest port: workers ask each connection which one was dialled.
    `is_web`: in `mode http`; no worker sees it, the supervisor serves it (`control.web`) with its single member.
    """

    proxy: int
    bind: int
    port: int
    members: list[socket.socket]
    backlog: int = 0
    is_web: bool = False

    def member(self, worker: int) -> socket.socket:
        return self.members[worker % len(self.members)]


@dataclass(slots=True)
class Ports:
    """Every listening socket. `complaints` are HAProxy's words for what could not be bound; `remarks` for the rest."""

    groups: list[Group] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _ranges: PortRanges | None = None

    @classmethod
    def bind(cls, config: Config, workers: int) -> Ports:
        """Bind everything; failures are collected, all of them, and nothing is raised."""
        ports = cls()
        steered: list[Steered] = []
        taken = _taken() if config.settings.port_range == SK_LOOKUP else set()
        for opening in openings(config):
            if opening.ranged and not ports._has_range_free(config, opening, taken):
                continue
            try:
                members = ports._group(config, opening, 1 if opening.is_web else workers)
            except ResourceError as error:
                ports.complaints.append(opening.complaint(str(error)))
                continue
            group = Group(opening.proxy.index, opening.number, opening.told_port, members, is_web=opening.is_web)
            ports.groups.append(group)
            if opening.ranged:
                steered.append(Steered(_literal(opening.bind), opening.bind.ports, members[0]))
        if steered and not ports.complaints:
            ports._attach(steered)
        return ports

    def _has_range_free(self, config: Config, opening: Opening, taken: set[int]) -> bool:
        """The program would take connections from whoever listens on a port of the range; binding it would fail."""
        before = len(self.complaints)
        for port in range(opening.bind.ports.low + 1, opening.bind.ports.high + 1):
            if port in taken:
                try:
                    sockets.try_bind(opening.bind, port, opening.proxy, config.settings)
                except ResourceError as error:
                    self.complaints.append(opening.complaint(str(error), port))
        return len(self.complaints) == before

    def _attach(self, steered: list[Steered]) -> None:
        try:
            self._ranges = PortRanges(steered)
        except ResourceError as error:
            self.complaints.append(str(error))

    def _group(self, config: Config, opening: Opening, workers: int) -> list[socket.socket]:
        bind, port, proxy = opening.bind, opening.port, opening.proxy
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
            Listener(group.proxy, group.bind, group.port, group.member(worker).fileno())
            for group in self.groups
            if not group.is_web
        )

    def close(self) -> None:
        """Stop listening: what no worker has open any more is refused from now on."""
        if self._ranges is not None:
            self._ranges.close()
            self._ranges = None
        for group in self.groups:
            _close(group.members)
        self.groups.clear()

    def pause(self, proxy: int | None = None) -> None:
        """Refuse connections on TCP ports (of one proxy), and let another process bind them, until resume()."""
        for group in self._of(proxy):
            for member in filter(_is_tcp, group.members):
                group.backlog = _backlog(member) or group.backlog
                # What HAProxy does: the socket keeps its address and its options but is in state LISTEN no more.
                with contextlib.suppress(OSError):
                    member.shutdown(socket.SHUT_RD)

    def _of(self, proxy: int | None) -> list[Group]:
        return [group for group in self.groups if proxy in (None, group.proxy)]

    def resume(self, proxy: int | None = None) -> list[Group]:
        """Listen again, in worker order, since that is how steering counts. Returns what somebody else has taken."""
        lost = []
        for group in self._of(proxy):
            try:
                for member in filter(_is_tcp, group.members):
                    member.listen(group.backlog)
            except OSError:
                lost.append(group)
                continue
            if len(group.members) > 1:
                self._steer(group.members)
        if self._ranges is not None:
            try:
                self._ranges.listen_again()
            except ResourceError:
                lost.extend(group for group in self._of(proxy) if not group.port and _is_tcp(group.members[0]))
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


@dataclass(frozen=True, slots=True)
class Opening:
    """One thing to listen on: a port of a bind, or with `ranged` its whole range, by its lowest `port`."""

    proxy: Proxy
    number: int
    bind: Bind
    port: int
    ranged: bool = False

    @property
    def is_web(self) -> bool:
        return self.proxy.mode is Mode.HTTP

    @property
    def told_port(self) -> int:
        """What workers are told: 0 for a range."""
        return 0 if self.ranged else self.port

    def complaint(self, error: str, port: int | None = None) -> str:
        """HAProxy's words for what could not be bound."""
        place = f"Binding [{self.bind.origin}] for {capability(self.proxy)} {self.proxy.name}"
        return f"{place}: {error} for [{shown(self.bind.endpoint, self.port if port is None else port)}]"


def openings(config: Config) -> Iterator[Opening]:
    """All that shall be listened on, in the order of the text."""
    for proxy in config.proxies:
        if proxy.disabled or not proxy.is_frontend:
            continue
        for number, bind in enumerate(proxy.binds):
            if bind.data and proxy.ftp.auth_tls is AuthTls.REFUSE:
                # A pool: workers open its ports as they are leased.
                continue
            if config.settings.port_range == SK_LOOKUP and _can_be_steered(config, proxy, bind):
                yield Opening(proxy, number, bind, bind.ports.low, ranged=True)
                continue
            for port in range(bind.ports.low, bind.ports.high + 1):
                yield Opening(proxy, number, bind, port)


def settle_port_range(config: Config, remark: Callable[[str], None]) -> Config:
    """Decide `tune.port-range auto`: the program for large ranges where the kernel takes it, else a socket a port."""
    if config.settings.port_range != "auto":
        return config
    ranges = [bind for proxy in config.proxies for bind in proxy.binds if _can_be_steered(config, proxy, bind)]
    decided = "bind"
    if any(len(bind.ports) >= WORTH_A_PROGRAM for bind in ranges):
        try:
            PortRanges([]).close()
            decided = SK_LOOKUP
        except ResourceError as error:
            count = sum(len(bind.ports) for bind in ranges)
            remark(f"{error}; the {count} ports of ranges are bound one by one, a descriptor each in every worker")
    return replace(config, settings=replace(config.settings, port_range=decided))


def _can_be_steered(config: Config, proxy: Proxy, bind: Bind) -> bool:
    if proxy.mode is Mode.HTTP:
        return False
    plain = bind.endpoint.family in (Family.IPV4, Family.IPV6) and bind.interface is None and not bind.transparent
    # A dual-stack socket would need the program twice, and a shared one has no group to be a member of.
    return plain and len(bind.ports) > 1 and not bind.v4v6 and not config.settings.noreuseport


def _literal(bind: Bind) -> str:
    return "0.0.0.0" if bind.endpoint.host in ("", "*") else bind.endpoint.host


def _taken() -> set[int]:
    """Ports that somebody listens on, on whatever address."""
    return {int(port, 16) for (_, port), _ in _listening()}


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
