"""Stats sockets, and the pages of `mode http`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pasvport.address import Endpoint
from pasvport.model.origin import Origin
from pasvport.model.socket_options import UnixPermissions


class StatsLevel(StrEnum):
    """`level` of a stats socket: what its clients may do."""

    USER = "user"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class StatsSocket:
    """`stats socket ADDRESS [mode M] [user U] [group G] [level L] [expose-fd listeners] ...` of the global section."""

    origin: Origin
    endpoint: Endpoint
    level: StatsLevel = StatsLevel.OPERATOR
    expose_listeners: bool = False
    maxconn: int = 0
    permissions: UnixPermissions = field(default_factory=UnixPermissions)
    severity_output: str = "none"
    """How remarks begin with their severity: `none`, `number` or `string`, until a client says otherwise."""


@dataclass(frozen=True, slots=True)
class Stats:
    """`stats ...` of a proxy in `mode http`, which serves the statistics and nothing else."""

    enabled: bool = False
    uri: str = "/haproxy?stats"
    realm: str = "HAProxy Statistics"
    users: tuple[tuple[str, str], ...] = ()
    """(name, password) of `stats auth`; empty: anybody."""
    refresh: int = 0
    """Seconds."""
    admin: bool = False
    hide_version: bool = False
    show_node: str | None = None
    show_description: str | None = None
    show_legends: bool = False
    show_modules: bool = False
    scope: tuple[str, ...] = ()
    metrics: bool = False
    """`http-request use-service prometheus-exporter if { path /metrics }`: the metrics need no password."""
