"""`server` lines: where a server is, and from where it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pasvport.address import Endpoint, PortRange
from pasvport.model.checks import Agent, Check
from pasvport.model.ftp import FtpPassive
from pasvport.model.origin import Origin
from pasvport.model.socket_options import SocketOptions


class PortMap(StrEnum):
    """How a server's port follows from the client's destination port."""

    FIXED = "fixed"
    OFFSET = "offset"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class ServerPort:
    """FIXED: `value` is the port. OFFSET: destination port plus `value` (may be negative). SAME: value 0."""

    kind: PortMap
    value: int = 0

    def towards(self, destination_port: int) -> int:
        """The port to connect to for a client that dialled `destination_port`."""
        return self.value if self.kind is PortMap.FIXED else destination_port + self.value


class SourceUse(StrEnum):
    """`usesrc` of a source line: whose address the server shall see."""

    LOCAL = "local"
    CLIENT = "client"
    CLIENT_IP = "clientip"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Source:
    """`source ADDR[:LO-HI] [usesrc X] [interface I]`. `endpoint` None means any address."""

    endpoint: Endpoint | None = None
    ports: PortRange | None = None
    use: SourceUse = SourceUse.LOCAL
    use_endpoint: Endpoint | None = None
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend. `track` is "backend/server" or None. Connection limits: 0 means none."""

    origin: Origin
    name: str
    id: int
    endpoint: Endpoint
    port: ServerPort
    weight: int = 1
    backup: bool = False
    disabled: bool = False
    maxconn: int = 0
    minconn: int = 0
    maxqueue: int = 0
    slowstart: int = 0
    source: Source | None = None
    check: Check = field(default_factory=Check)
    agent: Agent = field(default_factory=Agent)
    track: str | None = None
    shutdown_sessions_when_down: bool = False
    shutdown_backup_sessions_when_up: bool = False
    non_stick: bool = False
    ftp_passive: FtpPassive | None = None
    """None: as its backend says."""
    init_addr: tuple[str, ...] = ("last", "libc")
    dynamic: bool = False
    """Added at run time: its checks wait for an order."""
    dormant: bool = False
    """Added at run time and begins in forced maintenance."""
    options: SocketOptions = field(default_factory=SocketOptions)
