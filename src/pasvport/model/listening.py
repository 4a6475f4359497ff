"""`bind` lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from pasvport.address import Endpoint, Network, PortRange
from pasvport.model.origin import Origin
from pasvport.model.socket_options import SocketOptions, UnixPermissions


@dataclass(frozen=True, slots=True)
class Advertise:
    """`advertise ADDR [for NETWORK]` of a bind: the literal IPv4 address that clients (of a network) are told."""

    host: str
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """One address of a `bind` line (a line with N comma-separated addresses gives N of them).

    `ports` has more than one port for a range; UNIX and fd endpoints have PortRange(0, 0).
    `maxconn` 0 means no limit of its own. `ids` are the numeric listener ids of the ports, first to last.
    """

    origin: Origin
    endpoint: Endpoint
    ports: PortRange
    name: str | None = None
    first_id: int = 1
    maxconn: int = 0
    backlog: int = 0
    interface: str | None = None
    transparent: bool = False
    v6only: bool = False
    v4v6: bool = False
    defer_accept: bool = False
    options: SocketOptions = field(default_factory=SocketOptions)
    permissions: UnixPermissions = field(default_factory=UnixPermissions)
    data: bool = False
    """`mode ftp`: a pool of data ports (`data`, or a range of ports), opened when leased, not listened on."""
    advertise: tuple[Advertise, ...] = ()
    """First match counts; one without a network matches everybody."""

    def label(self, port: int) -> str:
        """What HAProxy calls this listener in logs: its name, else its id."""
        return self.name if self.name is not None else str(self.first_id + max(0, port - self.ports.low))
