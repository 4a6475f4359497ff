"""What happened and how things stand: session records, termination states, server states, the counters' layout.

Everything here is a value or a table; workers write, the supervisor reads, `logformat` words it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pasvport.model import Config, Proxy

NO_SERVER = "<NOSRV>"
NO_BACKEND = "<NONE>"


class Culprit(StrEnum):
    """First letter of the termination state: who ended the session (HAProxy manual, section 8.5)."""

    NONE = "-"
    CLIENT_ABORT = "C"
    CLIENT_TIMEOUT = "c"
    SERVER_ABORT = "S"
    SERVER_TIMEOUT = "s"
    PROXY = "P"
    LOCAL = "L"
    RESOURCE = "R"
    INTERNAL = "I"
    DOWN = "D"
    UP = "U"
    KILLED = "K"


class Stage(StrEnum):
    """Second letter: in which phase."""

    NONE = "-"
    REQUEST = "R"
    QUEUE = "Q"
    CONNECT = "C"
    DATA = "D"
    LAST = "L"


@dataclass(slots=True)
class SessionRecord:
    """All that a log line may say of one session. Milliseconds; -1 = that stage was not reached.

    `accepted` is seconds since the epoch. Addresses are text; ports are text too because HAProxy prints `unix`
    listeners' ids in their place. `*_connections` are tcplog's actconn/feconn/beconn/srvconn.
    """

    accepted: float
    client_address: str
    client_port: str
    frontend_address: str
    frontend_port: str
    frontend: str
    listener: str
    backend: str
    server: str = NO_SERVER
    source_address: str = "-"
    source_port: str = "-"
    server_address: str = "-"
    server_port: str = "-"
    handshake_time: int = 0
    queue_time: int = -1
    connect_time: int = -1
    data_time: int = -1
    total_time: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    culprit: Culprit = Culprit.NONE
    stage: Stage = Stage.NONE
    process_connections: int = 0
    frontend_connections: int = 0
    backend_connections: int = 0
    server_connections: int = 0
    retries: int = 0
    redispatched: bool = False
    server_queue: int = 0
    backend_queue: int = 0
    session_number: int = 0
    unique_id: str = ""
    in_progress: bool = False
    """True for a line written at connect time (`option logasap`): times and sizes get a `+`."""
    logged: bool = False
    """The session's one line was written already (at accept or at connect)."""
    log_number: int = 0
    tls_version: str = ""
    """Of the client's connection; empty when TLS does not end here."""
    tls_cipher: str = ""
    ftp: FtpSessionRecord | None = None
    """In `mode ftp`."""
    transfer: TransferRecord | None = None
    """The line is about one transfer of the session."""

    @property
    def termination_state(self) -> str:
        return self.culprit + self.stage

    @property
    def is_normal(self) -> bool:
        """What `dontlog-normal` and `log-separate-errors` call a success: HAProxy manual, section 8.3.3."""
        if self.redispatched or self.culprit not in (Culprit.NONE, Culprit.LOCAL):
            return False
        return self.culprit is Culprit.LOCAL or not self.retries


# --- server state -------------------------------------------------------------------------------------------------


class Operation(IntEnum):
    """`srv_op_state`."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3


class Admin:
    """Bits of `srv_admin_state`."""

    FORCED_MAINT = 1
    INHERITED_MAINT = 2
    CONFIG_MAINT = 4
    FORCED_DRAIN = 8
    INHERITED_DRAIN = 16
    RESOLUTION_MAINT = 32
    MAINT = FORCED_MAINT | INHERITED_MAINT | CONFIG_MAINT | RESOLUTION_MAINT
    DRAIN = FORCED_DRAIN | INHERITED_DRAIN


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server's state as the supervisor decided it; workers only obey.

    `weight` is the user weight 0..256 (before slow start). `started` is the monotonic time in seconds at which the
    server came up, for slow start; 0.0 = long ago, no ramp.
    """

    operation: Operation = Operation.RUNNING
    admin: int = 0
    weight: int = 1
    started: float = 0.0
    maxconn: int = 0

    @property
    def is_up(self) -> bool:
        """May serve sessions that persistence sends to it (also while draining)."""
        return self.operation is not Operation.STOPPED and not self.admin & Admin.MAINT

    @property
    def takes_new(self) -> bool:
        """May be chosen by the balancing algorithm."""
        return (
            self.is_up and self.operation is not Operation.STOPPING and not self.admin & Admin.DRAIN and self.weight > 0
        )


# --- counters in shared memory ------------------------------------------------------------------------------------
#
# A column of signed 64-bit slots for each worker, in a file of its own: a worker can write its column, and read the
# others. A reader sums a slot over the columns (or takes the maximum, for *_max).
# Names are those of `show stat` where it has one.

PROCESS_COUNTERS = (
    "cur",
    "connections",
    "sessions",
    "bytes_out",
    "spliced_bytes_out",
    "dropped_logs",
    "pipes_used",
    "pipes_free",
    "fd_exhausted",
    "strangers_refused",
    "heartbeat",
    "conn_rate_tick",
    "conn_rate_cur",
    "conn_rate_prev",
    "sess_rate_tick",
    "sess_rate_cur",
    "sess_rate_prev",
)
FTP_COUNTERS = (
    "ftp_login",
    "ftp_login_fail",
    "ftp_xfer",
    "ftp_xfer_cur",
    "ftp_xfer_fail",
    "ftp_down",
    "ftp_up",
)
"""Logins, transfers and the bytes they moved (`ftp_down`, `ftp_up`), of proxies in `mode ftp`."""
FRONTEND_COUNTERS = (
    "scur",
    "smax",
    "stot",
    "conn_tot",
    "bin",
    "bout",
    "dcon",
    "dses",
    "ereq",
    "eint",
    "cli_abrt",
    "srv_abrt",
    "sess_rate_tick",
    "sess_rate_cur",
    "sess_rate_prev",
    *FTP_COUNTERS,
    "ftp_lease",
    "ftp_lease_cur",
    "ftp_lease_fail",
    "ftp_stranger",
    "ftp_refused",
    "ftp_pasv_cur",
    "ftp_conflict",
)
LISTENER_COUNTERS = ("scur", "smax", "stot", "bin", "bout", "dcon", "dses")
BACKEND_COUNTERS = (
    "scur",
    "smax",
    "stot",
    "bin",
    "bout",
    "qcur",
    "qmax",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "cli_abrt",
    "srv_abrt",
    "lbtot",
    "connect",
    "lastsess",
    "queue_time",
    "connect_time",
    "total_time",
    "queue_time_max",
    "connect_time_max",
    "total_time_max",
    "eint",
    *FTP_COUNTERS,
)
SERVER_COUNTERS = BACKEND_COUNTERS
TIME_SAMPLES = 512
"""Sessions over which the averages of the statistics go (HAProxy's number): `queue_time`, `connect_time` and
`total_time` are the sums of that many, of a worker's last ones."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where one object's counters begin, in slots from the start of a column."""

    base: int
    names: tuple[str, ...]

    def slot(self, name: str) -> int:
        return self.base + self.names.index(name)


class CounterLayout:
    """Slots of every object of a configuration, the same in every process that holds the same Config.

    Listener blocks are one per `Bind` (a port range shares one block).
    """

    def __init__(self, config: Config) -> None:
        self._next = 0
        self.process = self._block(PROCESS_COUNTERS)
        self.frontend: dict[int, Block] = {}
        self.backend: dict[int, Block] = {}
        self.listener: dict[tuple[int, int], Block] = {}
        self.server: dict[tuple[int, int], Block] = {}
        for proxy in config.proxies:
            self._add(proxy)
        self.width = -(-self._next // 8) * 8

    def _block(self, names: tuple[str, ...]) -> Block:
        # Blocks start on a cache line, so that two workers' columns never share one.
        base = -(-self._next // 8) * 8
        self._next = base + len(names)
        return Block(base, names)

    def _add(self, proxy: Proxy) -> None:
        if proxy.is_frontend:
            self.frontend[proxy.index] = self._block(FRONTEND_COUNTERS)
            for number, _ in enumerate(proxy.binds):
                self.listener[proxy.index, number] = self._block(LISTENER_COUNTERS)
        if proxy.is_backend:
            self.backend[proxy.index] = self._block(BACKEND_COUNTERS)
            for number, _ in enumerate(proxy.servers):
                self.server[proxy.index, number] = self._block(SERVER_COUNTERS)

    @property
    def size(self) -> int:
        """Bytes of a column."""
        return self.width * 8


# --- FTP: sessions and transfers ----------------------------------------------------------------------------------


class Direction(StrEnum):
    """Of a transfer, as the client sees it."""

    DOWNLOAD = "download"
    UPLOAD = "upload"


class DataMode(StrEnum):
    """By which command a data connection was agreed on, on either side of the balancer."""

    NONE = "-"
    PASV = "PASV"
    EPSV = "EPSV"
    PORT = "PORT"
    EPRT = "EPRT"


class DataEnding(StrEnum):
    """How the bytes of a transfer ended."""

    NONE = "-"
    COMPLETE = "complete"
    CLIENT_ABORT = "client-abort"
    SERVER_ABORT = "server-abort"
    CUT = "cut"
    """By the balancer: ABOR, a stall, a refusal, the end of the session."""
    CONFLICT = "conflict"
    """By the balancer, before the first: two connections came for the client's one."""


@dataclass(slots=True)
class TransferRecord:
    """All that a log line may say of one transfer. The dialogue fills what it knows; it has no clock.

    The engine adds `started` (seconds since the epoch), the times (milliseconds, -1 = not reached) and the peer's
    address. `path` is the argument's bytes, `size` the bytes moved; `code` is the reply code that the client was told,
    `server_code` what the server said (0: nothing). `number` counts the session's data paths.
    """

    number: int
    verb: str
    path: bytes
    direction: Direction
    user: bytes = b""
    server: str = NO_SERVER
    data_type: str = "A"
    restart: int = 0
    size: int = 0
    client_mode: DataMode = DataMode.NONE
    server_mode: DataMode = DataMode.NONE
    port: int = 0
    code: int = 0
    server_code: int = 0
    ending: DataEnding = DataEnding.NONE
    culprit: Culprit = Culprit.NONE
    stage: Stage = Stage.NONE
    peer: str = "-"
    started: float = 0.0
    client_wait: int = -1
    connect_time: int = -1
    duration: int = -1

    @property
    def termination_state(self) -> str:
        return self.culprit + self.stage

    @property
    def is_complete(self) -> bool:
        """Every byte arrived and both sides said so."""
        return self.ending is DataEnding.COMPLETE and 200 <= self.code < 300


@dataclass(slots=True)
class FtpSessionRecord:
    """What FTP adds to a SessionRecord. `user` is who is logged in, `logged_in` whether anybody is.

    `failed_user` is the name of the last attempt to log in that was refused, or that came to no end.
    `reason` says in words why the session ended. `strays` are replies nobody had asked for.
    """

    user: bytes = b""
    failed_user: bytes = b""
    logged_in: bool = False
    virtual_host: bytes = b""
    server: str = NO_SERVER
    commands: int = 0
    refused_commands: int = 0
    transfers: int = 0
    failed_transfers: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    login_failures: int = 0
    strangers: int = 0
    conflicts: int = 0
    strays: int = 0
    redispatches: int = 0
    blind: bool = False
    reason: str = ""
