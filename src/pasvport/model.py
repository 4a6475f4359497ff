"""The compiled configuration: frozen values, the one thing every room agrees on.

Times are whole milliseconds, sizes bytes, rates per second, unless a field says otherwise. `None` means "not set"
where HAProxy distinguishes that from a default; defaults of the language are already filled in by the compiler.
Proxies, binds, servers and tables refer to each other by name or by index in their tuple, never by object, so a
Config travels over the wire as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pasvport.address import Endpoint, Network, PortRange


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in the configuration something was said."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Mode(StrEnum):
    """`mode` of a proxy. HTTP serves the statistics page and nothing else."""

    TCP = "tcp"
    FTP = "ftp"
    HTTP = "http"


# --- expressions: sample fetches and converters -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Converter:
    """One `,name(args)` step of an expression."""

    name: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """`fetch[(args)][,converter[(args)]...]`, e.g. `src,ipmask(24)`. `text` is as written."""

    text: str
    fetch: str
    args: tuple[str, ...] = ()
    converters: tuple[Converter, ...] = ()


# --- logs ---------------------------------------------------------------------------------------------------------


class LogFormat(StrEnum):
    """Framing of a log message (`log ... format X`)."""

    LOCAL = "local"
    RFC3164 = "rfc3164"
    RFC5424 = "rfc5424"
    PRIORITY = "priority"
    SHORT = "short"
    TIMED = "timed"
    ISO = "iso"
    RAW = "raw"
    JSON = "json"
    """Ours: one JSON object a message, its fields by name instead of the line's text."""


class LogTransport(StrEnum):
    """How a log target is reached."""

    UDP = "udp"
    UNIX_DATAGRAM = "unix-datagram"
    TCP = "tcp"
    UNIX_STREAM = "unix-stream"
    DESCRIPTOR = "fd"


@dataclass(frozen=True, slots=True)
class LogTarget:
    """One `log ADDRESS [len N] [format F] [sample R:S] FACILITY [MAX [MIN]]` line.

    `endpoint` is None for DESCRIPTOR, where `descriptor` is 1 (stdout), 2 (stderr) or N (fd@N).
    `facility` 0..23, levels 0 (emerg)..7 (debug); messages less urgent than `level` are not sent, those more
    urgent than `minimum_level` are sent as that level. `sample_ranges` are inclusive, 1-based, over `sample_size`.
    """

    origin: Origin
    transport: LogTransport
    endpoint: Endpoint | None
    descriptor: int = -1
    length: int = 1024
    format: LogFormat = LogFormat.LOCAL
    facility: int = 16
    level: int = 7
    minimum_level: int = 0
    sample_ranges: tuple[tuple[int, int], ...] = ()
    sample_size: int = 0


# --- stick tables -------------------------------------------------------------------------------------------------


class KeyType(StrEnum):
    """`type` of a stick-table key. `ipv4` is written back as `ip`, as HAProxy does."""

    IP = "ip"
    IPV6 = "ipv6"
    INTEGER = "integer"
    STRING = "string"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class StoredType:
    """One `store NAME[(PERIOD)]` of a table; `period` in ms for rates, else 0; `count` for arrays, else 1."""

    name: str
    period: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class StickTable:
    """`stick-table ...`; `key_length` for string (default 32) and binary keys; `expire` 0 means never."""

    origin: Origin
    name: str
    key_type: KeyType
    size: int
    key_length: int = 0
    expire: int = 0
    nopurge: bool = False
    stores: tuple[StoredType, ...] = ()
    server_key: str = "name"


class StickAction(StrEnum):
    """What a stick rule does: `stick on` is compiled to MATCH plus STORE_REQUEST."""

    MATCH = "match"
    STORE_REQUEST = "store-request"


@dataclass(frozen=True, slots=True)
class StickRule:
    """One half of a stick line; `table` is the name of the proxy that owns the table."""

    origin: Origin
    action: StickAction
    expression: Expression
    table: str


# --- listening ----------------------------------------------------------------------------------------------------


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


# --- servers ------------------------------------------------------------------------------------------------------


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


class ObserveMode(StrEnum):
    """`observe`: what traffic may count against a server."""

    NONE = "none"
    LAYER4 = "layer4"


class OnError(StrEnum):
    """`on-error`: what happens after `error-limit` observed errors."""

    FASTINTER = "fastinter"
    FAIL_CHECK = "fail-check"
    SUDDEN_DEATH = "sudden-death"
    MARK_DOWN = "mark-down"


class CheckKind(StrEnum):
    """What a health check does; one kind for a whole backend."""

    TCP = "tcp"
    TCP_SCRIPT = "tcp-check"
    EXTERNAL = "external-check"
    FTP = "ftp-check"


class StepKind(StrEnum):
    """Steps of a tcp-check script."""

    CONNECT = "connect"
    SEND = "send"
    EXPECT = "expect"
    COMMENT = "comment"


class ExpectMatch(StrEnum):
    """How `tcp-check expect` compares."""

    STRING = "string"
    RSTRING = "rstring"
    BINARY = "binary"
    RBINARY = "rbinary"


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a tcp-check script; only the fields of its kind are meaningful.

    CONNECT: `port` (0 = the check's own), `address` (None = the check's own), `linger`.
    SEND: `data`. EXPECT: `match`, `negated`, `data` (bytes to find, or the regular expression's source as bytes),
    `min_recv` (-1 = no minimum), `ok_status`, `error_status`, `timeout_status` (HAProxy's status names, "" = default),
    `on_success`, `on_error` (messages). `comment` belongs to any step.
    """

    origin: Origin
    kind: StepKind
    comment: str = ""
    port: int = 0
    address: Endpoint | None = None
    linger: bool = False
    data: bytes = b""
    match: ExpectMatch = ExpectMatch.STRING
    negated: bool = False
    min_recv: int = -1
    ok_status: str = ""
    error_status: str = ""
    timeout_status: str = ""
    on_success: str = ""
    on_error: str = ""


class FtpCheckMode(StrEnum):
    """How an `option ftp-check` opens its data connection."""

    NONE = ""
    PASSIVE = "passive"
    EPSV = "epsv"


class FtpCheckAction(StrEnum):
    """What an `option ftp-check` transfers."""

    NONE = ""
    LIST = "list"
    RETR = "retr"


@dataclass(frozen=True, slots=True)
class FtpCheck:
    """`option ftp-check [user U password P] [passive|epsv] [list|retr PATH]`. `user` empty: the banner is enough."""

    user: str = ""
    password: str = ""
    mode: FtpCheckMode = FtpCheckMode.NONE
    action: FtpCheckAction = FtpCheckAction.NONE
    path: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """`check` of a server: where, how often, and how many results flip the state.

    `fast_interval` and `down_interval` 0 mean: as `interval`. `port` 0: the server's own.
    """

    enabled: bool = False
    endpoint: Endpoint | None = None
    port: int = 0
    interval: int = 2000
    fast_interval: int = 0
    down_interval: int = 0
    rise: int = 2
    fall: int = 3
    observe: ObserveMode = ObserveMode.NONE
    error_limit: int = 10
    on_error: OnError = OnError.FAIL_CHECK


@dataclass(frozen=True, slots=True)
class Agent:
    """`agent-check` of a server. `send` is written after connecting."""

    enabled: bool = False
    endpoint: Endpoint | None = None
    port: int = 0
    interval: int = 2000
    send: bytes = b""


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
    init_addr: tuple[str, ...] = ("last", "libc")
    description: str = ""
    dynamic: bool = False
    """Added at run time: its checks wait for an order."""
    dormant: bool = False
    """Added at run time and begins in forced maintenance."""
    options: SocketOptions = field(default_factory=SocketOptions)


# --- balancing ----------------------------------------------------------------------------------------------------


class Algorithm(StrEnum):
    """`balance`."""

    ROUNDROBIN = "roundrobin"
    STATIC_RR = "static-rr"
    LEASTCONN = "leastconn"
    FIRST = "first"
    SOURCE = "source"
    RANDOM = "random"
    HASH = "hash"


class HashMethod(StrEnum):
    """`hash-type`, first word."""

    MAP_BASED = "map-based"
    CONSISTENT = "consistent"


class HashFunction(StrEnum):
    """`hash-type`, second word."""

    SDBM = "sdbm"
    DJB2 = "djb2"
    WT6 = "wt6"
    CRC32 = "crc32"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Balance:
    """`balance`, `hash-type`, `hash-balance-factor`. `draws` belongs to random, `expression` to hash."""

    algorithm: Algorithm = Algorithm.ROUNDROBIN
    draws: int = 2
    expression: Expression | None = None
    hash_method: HashMethod = HashMethod.MAP_BASED
    hash_function: HashFunction = HashFunction.SDBM
    avalanche: bool = False
    balance_factor: int = 0
    all_backups: bool = False


# --- proxies ------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Logging:
    """A proxy's traffic log. `format` None: the one-line `Connect from` message at accept.

    `format` is a log-format string (the one of `option tcplog` when that was said); `error_format` likewise.
    """

    targets: tuple[LogTarget, ...] = ()
    format: str | None = None
    error_format: str | None = None
    structured_data: str | None = None
    tag: str | None = None
    dontlognull: bool = False
    dontlog_normal: bool = False
    separate_errors: bool = False
    logasap: bool = False
    log_health_checks: bool = False
    transfer_format: str | None = None
    """`mode ftp`: one more line for each transfer, with this log-format (`option ftplog` sets it)."""
    xferlog: str | None = None
    """`option ftp-xferlog FILE`: completed transfers in the wu-ftpd format."""


class AuthTls(StrEnum):
    """`option ftp-auth-tls`. Terminating TLS would be a third value: AUTH answered here."""

    PASS = "pass"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class UseRule:
    """`use_backend %[EXPRESSION]` or `use-server %[EXPRESSION]`: a name found through the FTP user, mostly by a map."""

    origin: Origin
    expression: Expression


@dataclass(frozen=True, slots=True)
class Ftp:
    """What `mode ftp` of a frontend (or listen) says; the defaults are the language's.

    `data_peer_*`: leading bits of the control peer's address that a data peer must share (strict 32 and 128, any 0).
    `login_limit` failures in `login_limit_period` ms are allowed to a source, 0: no limit; who is over it is answered
    after `login_limit_delay` ms.
    """

    data_peer_ipv4: int = 32
    data_peer_ipv6: int = 128
    trust_named_host: bool = False
    """`ftp-data-host any`."""
    active: bool = False
    auth_tls: AuthTls = AuthTls.REFUSE
    greeting: str | None = None
    denied: tuple[str, ...] = ()
    max_line: int = 4096
    login_limit: int = 0
    login_limit_period: int = 0
    login_limit_delay: int = 2000


@dataclass(frozen=True, slots=True)
class MapFile:
    """A file named by a `map` converter, read when the configuration was: (key, value) in its order."""

    path: str
    entries: tuple[tuple[str, str], ...] = ()


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


@dataclass(frozen=True, slots=True)
class Global:
    """The global section. `maxconn`, `nbthread`, `ulimit_n` 0 = derive from the machine at start-up.

    `environment` is the whole environment as `setenv` and its like left it, empty when none of them was used.
    """

    maxconn: int = 0
    maxconn_derived: bool = False
    """Start-up filled `maxconn` in from the descriptor limit; nobody asked for it."""
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
