"""What is set on sockets: connections of either side, files of UNIX listeners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """Options of one side's connections. Keepalive times in seconds; 0 means the system's default."""

    keepalive: bool = False
    keepalive_count: int = 0
    keepalive_idle: int = 0
    keepalive_interval: int = 0
    mss: int = 0
    user_timeout: int = 0
    fast_open: bool = False


@dataclass(frozen=True, slots=True)
class UnixPermissions:
    """`mode`, `uid`, `gid` of a UNIX listener; None leaves what the system gives."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
