"""Frontends, backends and listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pasvport.model.balancing import Balance
from pasvport.model.checks import CheckKind, CheckStep, FtpCheck
from pasvport.model.expressions import UseRule
from pasvport.model.ftp import Ftp, FtpPassive
from pasvport.model.listening import Bind
from pasvport.model.logs import Logging
from pasvport.model.origin import Origin
from pasvport.model.servers import Server, Source
from pasvport.model.socket_options import SocketOptions
from pasvport.model.stats import Stats
from pasvport.model.stick import StickRule, StickTable


class Mode(StrEnum):
    """`mode` of a proxy. HTTP serves the statistics page and nothing else."""

    TCP = "tcp"
    FTP = "ftp"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Milliseconds; None = not set (wait for ever). `tarpit` and HTTP timeouts do not exist here."""

    client: int | None = None
    server: int | None = None
    connect: int | None = None
    tunnel: int | None = None
    queue: int | None = None
    client_fin: int | None = None
    server_fin: int | None = None
    check: int | None = None
    ftp_data: int | None = None
    """From the answer to PASV to the client's data connection; None: 60 s, there is always a limit."""
    ftp_transfer: int | None = None
    """No byte of a transfer moved; None: 300 s."""
    ftp_login: int | None = None
    """From accept to an accepted login; None: 60 s."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A frontend, backend or listen section; a listen is both.

    `index` is its position in Config.proxies, `id` HAProxy's numeric id. `default_backend` is a proxy name;
    None in a listen means itself. `redispatch` 0 = off, N > 0 = on every Nth retry, -1 = on the last retry.
    `fullconn` 0 = 10 % of the maxconn of the frontends that lead here (config.fullconn fills it in once that is known).
    """

    origin: Origin
    name: str
    index: int
    id: int
    is_frontend: bool
    is_backend: bool
    mode: Mode = Mode.TCP
    disabled: bool = False
    description: str = ""
    # frontend
    binds: tuple[Bind, ...] = ()
    maxconn: int = 0
    session_rate_limit: int = 0
    default_backend: str | None = None
    client_options: SocketOptions = field(default_factory=SocketOptions)
    socket_stats: bool = False
    unique_id_format: str | None = None
    ftp: Ftp = field(default_factory=Ftp)
    use_backend: tuple[UseRule, ...] = ()
    stats: Stats | None = None
    # backend
    servers: tuple[Server, ...] = ()
    balance: Balance = field(default_factory=Balance)
    stick_table: StickTable | None = None
    stick_rules: tuple[StickRule, ...] = ()
    retries: int = 3
    redispatch: int = 0
    persist: bool = False
    abortonclose: bool = False
    source: Source | None = None
    server_options: SocketOptions = field(default_factory=SocketOptions)
    fullconn: int = 0
    check_kind: CheckKind = CheckKind.TCP
    check_steps: tuple[CheckStep, ...] = ()
    check_command: str | None = None
    check_path: str | None = None
    ftp_check: FtpCheck | None = None
    ftp_passive: FtpPassive = FtpPassive.AUTO
    use_server: tuple[UseRule, ...] = ()
    load_server_state: str | None = None
    """`load-server-state-from-file`: "global", "local", or None for "none"."""
    server_state_file_name: str | None = None
    # both
    timeouts: Timeouts = field(default_factory=Timeouts)
    logging: Logging = field(default_factory=Logging)
    nolinger_client: bool = False
    nolinger_server: bool = False
    contstats: bool = False

    def passive_of(self, server: Server) -> FtpPassive:
        """How this server of the backend is asked for a data port."""
        return self.ftp_passive if server.ftp_passive is None else server.ftp_passive
