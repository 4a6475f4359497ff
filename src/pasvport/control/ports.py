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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pasvport import sockets, steering
from pasvport.control import places
from pasvport.control.openings import SK_LOOKUP, UNSHARED, Opening, literal, openings
from pasvport.control.places import Held
from pasvport.errors import ResourceError
from pasvport.model import Config
from pasvport.sk_lookup import PortRanges, Steered
from pasvport.wire import Listener

_LISTEN = "0A"
_LARGEST_BACKLOG = 4096
"""Where nobody knows what it was; the kernel has a bound of its own (net.core.somaxconn)."""
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


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
    is_paused: bool = False
    is_web: bool = False
    workers: int = 1
    options: object = None
    interface: str = ""

    def served_by(self, worker: int) -> list[socket.socket]:
        """What a worker accepts from: every socket has somebody, also where there are more of them than workers."""
        return self.members[worker :: self.workers] or [self.members[worker % len(self.members)]]

    @property
    def steered(self) -> list[socket.socket]:
        """The sockets that new connections are steered to; more remain from a time of more workers."""
        return self.members[: self.workers]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A group that is bound but not open yet; `fresh` of its members do not listen."""

    opening: Opening
    group: Group
    fresh: list[socket.socket]
    is_same: bool


@dataclass(slots=True)
class Ports:
    """Every listening socket. `complaints` are HAProxy's words for what could not be bound; `remarks` for the rest."""

    groups: list[Group] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    taker: int = 0
    """The process that was handed these sockets (`-x`) and serves them when we stop; 0: none."""
    taker_keeps_all: bool = True
    """Otherwise it keeps the first one of each group, as HAProxy does."""
    _ranges: PortRanges | None = None
    _pending: list[_Pending] = field(default_factory=list)

    @classmethod
    def bind(cls, config: Config, workers: int, held: Held | None = None) -> Ports:
        """Bind everything that is not `held` by somebody already; failures are collected, all of them, none raised.

        Connections come to the new sockets once `open` is called. Until then `abandon` undoes everything.
        """
        held = held or Held()
        ports = cls(_ranges=held.ranges)
        taken = _taken() if config.settings.port_range == SK_LOOKUP else set()
        for opening in openings(config):
            if opening.ranged and not ports._has_range_free(config, opening, taken):
                continue
            try:
                ports._reserve(config, opening, 1 if opening.is_web else workers, held)
            except ResourceError as error:
                ports.complaints.append(opening.complaint(str(error)))
        return ports

    def _reserve(self, config: Config, opening: Opening, workers: int, held: Held) -> None:
        bind, port, proxy, settings = opening.bind, opening.port, opening.proxy, config.settings
        members = held.take(places.wanted(bind, port))
        # What another process bound without SO_REUSEPORT cannot be joined, so all workers share it.
        reuse = bind.endpoint.family not in UNSHARED and not settings.noreuseport and all(map(_is_joinable, members))
        wanted = workers if reuse else 1
        fresh: list[socket.socket] = []
        try:
            while len(members) + len(fresh) < wanted:
                fresh.append(sockets.reserve(bind, port, proxy, settings, reuse=reuse))
        except ResourceError:
            _close(fresh)
            raise
        options = sockets.options_of(bind, proxy, settings)
        is_same = bool(members) and all(held.options.get(member.fileno()) == options for member in members)
        told = 0 if any(member.fileno() in held.anchors for member in members) else opening.told_port
        group = Group(
            opening.proxy.index,
            opening.number,
            told,
            [*members, *fresh],
            is_web=opening.is_web,
            workers=workers,
            options=options,
        )
        group.interface = bind.interface or ""
        self.groups.append(group)
        self._pending.append(_Pending(opening, group, fresh, is_same))

    def open(self, config: Config) -> None:
        """Let connections come, once. `complaints` has what failed."""
        if not self._pending:
            return
        for pending in self._pending:
            try:
                self._open(pending, config)
            except ResourceError as error:
                self.complaints.append(pending.opening.complaint(str(error)))
        if not self.complaints:
            self._attach(self._pending)
        if not self.complaints:
            self._pending = []

    def _open(self, pending: _Pending, config: Config) -> None:
        bind, proxy, settings = pending.opening.bind, pending.opening.proxy, config.settings
        group = pending.group
        for member in group.members:
            if not pending.is_same and member not in pending.fresh:
                sockets.refit(member, bind, proxy, settings)
            # What was held may be paused.
            if not pending.is_same or not _is_listening(member):
                sockets.begin(member, bind, proxy, settings)
        if len(group.members) > 1:
            self._steer(group.steered)

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

    def _attach(self, pending: list[_Pending]) -> None:
        """The program for ranges. One that does the same already stays; another is detached once this one works."""
        steered = tuple(
            Steered(literal(each.opening.bind), each.opening.bind.ports, each.group.members[0])
            for each in pending
            if each.opening.ranged
        )
        former = self._ranges
        if former is not None and former.ranges == steered:
            return
        try:
            self._ranges = PortRanges(steered) if steered else None
        except ResourceError as error:
            self.complaints.append(str(error))

    def _steer(self, members: list[socket.socket]) -> None:
        try:
            steering.steer(members)
        except ResourceError as error:
            if not self.remarks:
                self.remarks.append(f"{error}; a client's connections may reach different workers")

    def listeners(self, worker: int) -> tuple[Listener, ...]:
        """What a worker is told; the descriptors are those of this process, and inherited under the same numbers."""
        return tuple(
            Listener(group.proxy, group.bind, group.port, member.fileno())
            for group in self.groups
            if not group.is_web
            for member in group.served_by(worker)
        )

    def exposed(self) -> list[tuple[list[socket.socket], str]]:
        """Every group with its interface, for another process."""
        return [(group.members, group.interface) for group in self.groups]

    @property
    def is_taken(self) -> bool:
        """Whether the process that was handed these sockets lives."""
        if not self.taker:
            return False
        try:
            os.kill(self.taker, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def narrow(self) -> bool:
        """Steer everybody to the sockets that a taker has; True where that left some without new connections."""
        groups = [group for group in self.groups if len(group.members) > 1]
        if self.taker_keeps_all or not groups:
            return False
        for group in groups:
            self._steer(group.members[:1])
        return True

    def held(self) -> Held:
        """All that listens here, for another configuration to take over: see `cede`."""
        held = Held(ranges=self._ranges)
        options: dict[int, object] = {}
        anchors: set[int] = set()
        for group in self.groups:
            place = places.actual(group.members[0], group.interface)
            if place is not None:
                held.add(place, list(group.members))
                options.update((member.fileno(), group.options) for member in group.members)
                anchors.update(member.fileno() for member in group.members if not group.port)
        held.options, held.anchors = options, frozenset(anchors)
        return held

    def cede(self, successor: Ports) -> tuple[int, ...]:
        """Close what the successor, which was bound with `held`, has not taken over; which descriptors that were."""
        kept = {id(member) for group in successor.groups for member in group.members}
        vanished = [member for group in self.groups for member in group.members if id(member) not in kept]
        descriptors = tuple(member.fileno() for member in vanished)
        if self._ranges is not None and self._ranges is not successor._ranges:
            self._ranges.close()
        self._ranges = None
        _close(vanished)
        self.groups.clear()
        return descriptors

    def abandon(self, former: Ports | None = None) -> None:
        """Close what is new here; what was held stays with `former`, or with the process that handed it over."""
        for pending in self._pending:
            _close(pending.fresh)
        if self._ranges is not None and (former is None or self._ranges is not former._ranges):
            self._ranges.close()
        self._ranges = None
        self._pending.clear()
        self.groups.clear()
        if former is not None:
            former.steer()

    def steer(self) -> None:
        """Have connections steered to these workers (again)."""
        for group in self.groups:
            if len(group.members) > 1:
                self._steer(group.steered)

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
            group.is_paused = True
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
            group.is_paused = False
            if len(group.members) > 1:
                self._steer(group.steered)
        if self._ranges is not None:
            try:
                self._ranges.listen_again()
            except ResourceError:
                lost.extend(group for group in self._of(proxy) if not group.port and _is_tcp(group.members[0]))
        return lost

    def revive(self) -> None:
        """A worker died: what it may have done to sockets that it inherited is undone.

        A socket that does not listen any more listens again, with its whole group, since the order in which they begin
        is how steering counts: what waited in the group's queues is lost with it. Steering itself is set anew.
        """
        for group in self.groups if not self.is_taken else ():
            if group.is_paused:
                continue
            if not all(map(_is_listening, group.members)):
                _listen_anew(group)
            if len(group.members) > 1:
                self._steer(group.steered)

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


def _listen_anew(group: Group) -> None:
    backlog = max(map(_backlog, filter(_is_tcp, group.members)), default=0) or group.backlog or _LARGEST_BACKLOG
    for member in filter(_is_tcp, group.members):
        with contextlib.suppress(OSError):
            # Of a socket that does not listen, shutdown would be remembered, for every connection that it accepts.
            member.listen(backlog)
            member.shutdown(socket.SHUT_RD)
    for member in group.members:
        with contextlib.suppress(OSError):
            member.listen(backlog)


def _is_joinable(member: socket.socket) -> bool:
    return bool(member.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def _is_listening(member: socket.socket) -> bool:
    return bool(member.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


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


def _taken() -> set[int]:
    """Ports that somebody listens on, on whatever address."""
    return {int(port, 16) for (_, port), _ in _listening()}
