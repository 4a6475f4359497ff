"""Where listening sockets are, and those that exist already: a former configuration's, or another process's.

A socket with connections in its queue must not be closed while somebody still wants the port, so a configuration takes
over whatever socket stands where it would bind one. HAProxy compares the same things (its `-x`).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pasvport import sockets
from pasvport.address import Family
from pasvport.errors import ResourceError
from pasvport.model import Bind
from pasvport.sk_lookup import PortRanges

_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_V6ONLY_BY_DEFAULT = Path("/proc/sys/net/ipv6/bindv6only")
_TEMPORARY = re.compile(r"\.[0-9]+\.(tmp|bak)$")
"""HAProxy and we bind a UNIX socket under such a name and rename it; the kernel goes on telling the first name."""


@dataclass(frozen=True, slots=True)
class Place:
    """What two listening sockets must have in common to stand in for each other. `address` may be a path."""

    family: int
    address: str
    port: int = 0
    interface: str = ""
    v6only: bool = False


def wanted(bind: Bind, port: int) -> Place | None:
    """Where a socket of this bind would be; None for an inherited descriptor. Raises ResourceError as `listen`."""
    if bind.endpoint.family is Family.FD:
        return None
    family = sockets.address_family(bind.endpoint)
    if family == socket.AF_UNIX:
        prefix = "\0" if bind.endpoint.family is Family.ABNS else ""
        return Place(family, prefix + bind.endpoint.host)
    host = bind.endpoint.host if bind.endpoint.host not in ("", "*") else _ANY[socket.AddressFamily(family)]
    return Place(family, _literal(family, host), port, bind.interface or "", _is_v6only(family, bind))


def actual(sock: socket.socket, interface: str = "") -> Place | None:
    """Where a socket is; None for one that is no stream socket of the internet or of UNIX. Raises OSError."""
    if sock.type != socket.SOCK_STREAM:
        return None
    if sock.family == socket.AF_UNIX:
        name = sock.getsockname()
        text = name.decode("utf-8", "surrogateescape").rstrip("\0") if isinstance(name, bytes) else name
        return Place(sock.family, _TEMPORARY.sub("", text))
    if sock.family not in _ANY:
        return None
    host, port = sock.getsockname()[:2]
    v6only = sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    return Place(sock.family, _literal(sock.family, host), port, interface, v6only)


def _literal(family: int, host: str) -> str:
    return socket.inet_ntop(family, socket.inet_pton(family, host.partition("%")[0]))


def _is_v6only(family: int, bind: Bind) -> bool:
    if family != socket.AF_INET6:
        return False
    if bind.v6only or bind.v4v6:
        return bind.v6only
    try:
        return _V6ONLY_BY_DEFAULT.read_text().strip() == "1"
    except OSError:
        return False


@dataclass(slots=True)
class Held:
    """Listening sockets by their place, in the order in which they began to listen; `take` gives each once.

    `options` tells for a socket's descriptor how it was set up, where that is known. `anchors` are the descriptors of
    those whose queues may hold connections to other ports than their own. `ranges` is the program in force.
    """

    sockets: dict[Place, list[list[socket.socket]]] = field(default_factory=dict)
    options: Mapping[int, object] = field(default_factory=dict)
    anchors: frozenset[int] = frozenset()
    ranges: PortRanges | None = None

    def take(self, place: Place | None) -> list[socket.socket]:
        """The sockets there; none when nobody has one, or it was taken."""
        groups = self.sockets.get(place) if place is not None else None
        return groups.pop(0) if groups else []

    def add(self, place: Place, group: list[socket.socket]) -> None:
        """A group of sockets at one place; a place may have several."""
        self.sockets.setdefault(place, []).append(group)

    def rest(self) -> list[socket.socket]:
        """Those nobody took."""
        return [sock for groups in self.sockets.values() for group in groups for sock in group]


def received(found: Iterable[tuple[socket.socket, str]]) -> Held:
    """What another process handed over: (socket, interface). Closes what could not be used by anybody."""
    groups: dict[Place, list[socket.socket]] = {}
    for sock, interface in found:
        try:
            place = actual(sock, interface)
        except (OSError, ResourceError):
            place = None
        if place is None:
            sock.close()
            continue
        sock.setblocking(False)
        groups.setdefault(place, []).append(sock)
    return Held({place: [group] for place, group in groups.items()})
