"""The global section, and the configuration as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from pasvport.model.expressions import MapFile
from pasvport.model.logs import LogTarget
from pasvport.model.proxies import Proxy
from pasvport.model.stats import StatsSocket


@dataclass(frozen=True, slots=True)
class Global:
    """The global section. `maxconn`, `nbthread`, `ulimit_n` 0 = derive from the machine at start-up.

    `environment` is the whole environment as `setenv` and its like left it, empty when none of them was used.
    """

    maxconn: int = 0
    maxconn_derived: bool = False
    """Start-up filled `maxconn` in from the descriptor limit; nobody asked for it, and nobody is held to it."""
    nbthread: int = 0
    ulimit_n: int = 0
    fd_hard_limit: int = 0
    strict_limits: bool = True
    daemon: bool = False
    master_worker: bool = False
    quiet: bool = False
    zero_warning: bool = False
    user: str | None = None
    group: str | None = None
    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None
    pidfile: str | None = None
    node: str = ""
    description: str = ""
    log_targets: tuple[LogTarget, ...] = ()
    log_tag: str = "pasvport"
    log_send_hostname: str | None = None
    hard_stop_after: int | None = None
    grace: int = 0
    spread_checks: int = 0
    max_spread_checks: int = 0
    external_check: bool = False
    maxconnrate: int = 0
    maxsessrate: int = 0
    bufsize: int = 16384
    maxaccept: int = 0
    pipesize: int = 0
    ftp_held: int = 32 * 1024 * 1024
    """`tune.ftp.maxheld`: bytes that the sessions of a worker in `mode ftp` hold together before they are read less."""
    nosplice: bool = False
    port_range: str = "auto"
    """`tune.port-range`: `sk_lookup`, `bind`, or `auto` until start-up has decided."""
    noreuseport: bool = False
    localpeer: str = ""
    client_receive_buffer: int = 0
    client_send_buffer: int = 0
    server_receive_buffer: int = 0
    server_send_buffer: int = 0
    stats_sockets: tuple[StatsSocket, ...] = ()
    stats_timeout: int = 10_000
    stats_maxconn: int = 10
    server_state_base: str | None = None
    server_state_file: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. `tables` maps a table's name to itself; order of proxies is the order of the text."""

    settings: Global = field(default_factory=Global)
    proxies: tuple[Proxy, ...] = ()
    files: tuple[str, ...] = ()
    maps: tuple[MapFile, ...] = ()

    def proxy(self, name: str, *, backend: bool = False) -> Proxy:
        """The proxy of that name (`backend`: one with servers). Raises KeyError."""
        for proxy in self.proxies:
            if proxy.name == name and (proxy.is_backend if backend else True):
                return proxy
        raise KeyError(name)
